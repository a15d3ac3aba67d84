"""The verbs of the `sipmask` command, one module each; `sipmask_core.cli` holds the table."""
