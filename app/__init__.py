"""HTTP, command line, settings, the log writer and wiring: no formula, no decision."""
