"""The command ``mrs-necrosis``: parses and prints. The only package that prints.

Each command has a module, with its options and what it does. Heavy imports happen inside the
functions, so that ``--help`` stays instant. Results go to standard output, everything else to
standard error.
"""

from mrs_necrosis.cli.command import main as main
