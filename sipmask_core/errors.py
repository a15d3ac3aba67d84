"""The one exception type for mistakes that a user can mend."""


class InputError(ValueError):
    """Bad input: a file, an argument or an image that cannot be used.

    The message is one sentence that names the thing, its value and what would be accepted. The
    command line prints it without a traceback and exits with status 2.
    """
