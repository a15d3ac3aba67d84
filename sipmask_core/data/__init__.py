"""Files of data sets and results: checked when read, whole when written."""
