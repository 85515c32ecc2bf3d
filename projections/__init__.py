"""All SQL: the event log and what is derived from it."""
