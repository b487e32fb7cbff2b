#!/bin/sh
# Installs the system packages that some tests need; services of packages are not started.
set -eu
[ "$(id -u)" = 0 ] || { echo "test-deps installs Debian packages: run it as root" >&2; exit 1; }
missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
# the parts of the metric store in C; the headers are those of the system's Python
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
for header in /usr/include/python3*/Python.h; do
    [ -e "$header" ] || missing="$missing python3-dev"
done
# of the server only its programs are used; the tests start their own
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v mmdebstrap >/dev/null 2>&1 || missing="$missing mmdebstrap"
PATH=$PATH:/usr/sbin command -v nats-server >/dev/null 2>&1 || missing="$missing nats-server"
command -v victoria-metrics >/dev/null 2>&1 || missing="$missing victoria-metrics"
# a whole small Slurm cluster, see slurm_testbed.sh
for package in slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge mariadb-server; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -qx 'install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
policy=/usr/sbin/policy-rc.d
ours=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=yes
fi
trap '[ -z "$ours" ] || rm -f "$policy"' EXIT
echo "Installing$missing"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
# the next make builds what could not be built before
case $missing in *gcc* | *python3-dev*) rm -f .venv/.ready ;; esac
