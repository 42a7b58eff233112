"""Ask pip-audit for known vulnerabilities of locked packages (`make audit`), and never take its
silence for a yes.

Where PyPI's JSON API cannot be reached, pip-audit skips every package and ends with "No known
vulnerabilities found".
"""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]


def verdict(answer: str) -> list[str]:
    """Read pip-audit's JSON: one sentence for each thing that is wrong, none when every package is
    known and clean.
    """
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown or not packages:
        return [
            f"no vulnerability data for {len(unknown)} of {len(packages)} packages "
            f"({', '.join(unknown[:3])} ...), so nothing is known about them: "
            "run `make audit` where PyPI itself can be reached, not only a mirror of it"
        ]
    vulnerable = []
    for package in packages:
        for found in package["vulns"]:
            fixed = found["fix_versions"] or "none"
            vulnerable.append(
                f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}; "
                "`make lock UPGRADE=--upgrade`, or except it by --ignore-vuln in tools/audit.py, "
                "with the reason"
            )
    return vulnerable


def main(locks: list[str]) -> int:
    """Audit the locks; 0 when all packages are known and clean."""
    tool = Path(sys.executable).with_name("pip-audit")
    named = [word for lock in locks for word in ("--requirement", lock)]
    done = subprocess.run(
        [tool, *COMMAND, *named], capture_output=True, text=True, timeout=600, check=False
    )
    problems = verdict(done.stdout)
    for problem in problems:
        print(f"audit: {problem}", file=sys.stderr)
    if not problems:
        print(f"{' '.join(locks)}: no known vulnerabilities")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
