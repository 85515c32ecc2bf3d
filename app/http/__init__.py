"""The HTTP interface: a file for each caller, browsers, backends, people."""
