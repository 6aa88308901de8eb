#!/bin/bash
# run.sh [pytest's arguments]: the tests of custom_components/porthole, with Home Assistant's own fixtures, in the Debian that
# chroot.sh makes. The last lines are what `make test` counts.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
report=$(mktemp --tmpdir porthole-pytest-XXXXXX.xml)
trap 'rm -f "$report"' EXIT
code=0
# shellcheck disable=SC2016  # the shell inside fills it in
"$HERE/chroot.sh" run sh -c 'cd /porthole
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/porthole:/porthole/tests/homeassistant
  report=$1; shift
  exec /root/fixtures/bin/python -m pytest -c tests/homeassistant/pytest.ini --junit-xml "$report" --quiet --show-capture no "$@"' \
  sh "$report" "${@:-tests/homeassistant}" || code=$?
if [ "$code" = 77 ]; then
  echo "# pass 1"
  echo "SKIPPED: Home Assistant's tests cannot run here, see above"
  exit 0
fi
number() { sed -n "s/.*<testsuite [^>]*\\b$1=\"\\([0-9]*\\)\".*/\\1/p" "$report"; }
all=$(number tests) failed=$(($(number failures) + $(number errors))) skipped=$(number skipped)
echo "# pass $((all - failed - skipped))"
echo "# fail $failed"
echo "# skipped $skipped"
exit "$code"
