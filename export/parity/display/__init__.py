"""A report as people see it: at the terminal, and as a page."""
