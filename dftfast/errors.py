"""The one exception for bad input: commands print it as one line and exit with status 2."""


class UserError(Exception):
    """Something that the user can put right. The message says what, where (file, line, field) and what to do."""
