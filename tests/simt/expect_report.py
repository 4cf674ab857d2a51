# SPDX-License-Identifier: Apache-2.0
"""usage: expect_report.py REGEX PROGRAM [ARGUMENT...]

Passes if the program fails by itself, with an exit code that is not 0, and its output fits the expression."""
import re
import subprocess
import sys

expression, *command = sys.argv[1:]
run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
print(run.stdout, end="")
print(f"exit code {run.returncode}; expected another one than 0, and '{expression}' above")
sys.exit(0 if run.returncode != 0 and re.search(expression, run.stdout, re.DOTALL) else 1)
