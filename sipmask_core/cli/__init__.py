"""The `sipmask` command: a file for each verb."""
