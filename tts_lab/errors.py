"""The one exception a person at the keyboard is meant to read."""


class UserError(Exception):
    """Bad input, told in words: what is wrong, where, why, and what to do about it.

    The command line prints the message without a traceback and exits with `status`.
    """

    status = 1
