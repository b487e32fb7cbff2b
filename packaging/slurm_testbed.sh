#!/usr/bin/env bash
# slurm_testbed.sh: a real, tiny Slurm cluster on loopback for integration tests
#
# WHAT IT IS
#   Starts munged, MariaDB, slurmdbd, slurmctld and one slurmd per node, all
#   under one private directory, all on 127.0.0.1, without systemd and without
#   cgroups. Real jobs run (as real UNIX users); CPU, memory, socket layout and
#   GPUs of the nodes are invented, so a 2-core machine can pretend to be a
#   small GPU cluster. Nothing outside the directory is written, except that
#   `start` creates the test users when they are missing.
#
# USAGE        (as root; `install` and `tree` need Debian or Ubuntu)
#   slurm_testbed.sh install                apt-get install what is missing
#   slurm_testbed.sh start  [dir]           set up if new, start what is not running
#   slurm_testbed.sh stop   [dir]           cancel jobs, stop only what was started here
#   slurm_testbed.sh status [dir]           one line per daemon, then sinfo; exit 0 if all are up
#   slurm_testbed.sh env    [dir]           print `export ...` lines for eval
#   slurm_testbed.sh down   <name> [dir]    stop one daemon (outage tests)
#   slurm_testbed.sh up     <name> [dir]    start that daemon again
#   slurm_testbed.sh run    <user> [dir] -- <command...>   run a command as a test user
#   slurm_testbed.sh purge  [dir]           stop, then delete the directory
#   slurm_testbed.sh tree   <suite> <path>  unpack a Debian suite that has another Slurm
#   slurm_testbed.sh untree <path>          delete such a tree
#   <name> is munged, mariadbd, slurmdbd, slurmctld or slurmd-<node>.
#   [dir] defaults to $SLURM_TESTBED_DIR, else /tmp/slurm-testbed.
#   Every sub-command is idempotent: a second start or stop changes nothing.
#
# QUICK START
#   slurm_testbed.sh install && slurm_testbed.sh start /tmp/tb
#   eval "$(slurm_testbed.sh env /tmp/tb)"; sinfo
#   slurm_testbed.sh run tbalice /tmp/tb -- sbatch -n4 --wrap 'sleep 30'
#   slurm_testbed.sh stop /tmp/tb
#
# ANOTHER SLURM VERSION
#   Debian 12 has Slurm 22.05. `tree` unpacks a second Debian next to it with
#   apt (mmdebstrap, about 40 s, 1 GB); with SLURM_TESTBED_TREE set, every
#   other sub-command then works inside that tree ([dir] is a path in it):
#   bookworm 22.05.8, trixie 24.11.5, sid 26.05.5 (at the time of writing).
#     slurm_testbed.sh tree trixie /srv/trixie
#     export SLURM_TESTBED_TREE=/srv/trixie
#     slurm_testbed.sh start /tb; eval "$(slurm_testbed.sh env /tb)"; squeue --json
#   `env` puts <dir>/bin first in PATH: small wrappers around the Slurm commands
#   that set SLURM_CONF and, for a tree, enter it. They work for root only.
#
# SETTINGS (environment; read when the configuration is first written, i.e. by
# the first `start` of a directory; purge the directory to change them)
#   SLURM_TESTBED_CLUSTER    cluster name                        tbcluster
#   SLURM_TESTBED_NODES      CPU nodes  (tbn01, tbn02, ...)      2
#   SLURM_TESTBED_GPUNODES   GPU nodes  (tbg01, ...)             1
#   SLURM_TESTBED_LAYOUT     sockets:cores:threads per node      2:4:2
#   SLURM_TESTBED_HOSTNODES  nodes shaped like this machine (tbh01, ...), for
#                            jobs whose load is measured         0
#   SLURM_TESTBED_HOSTLAYOUT their sockets:cores:threads         1:1:1
#   SLURM_TESTBED_MEMORY     MiB per node                        16000
#   SLURM_TESTBED_GPUS       GPUs per GPU node                   4
#   SLURM_TESTBED_GPUTYPE    GPU type                            a100
#   SLURM_TESTBED_SELECT     SelectTypeParameters                CR_Core_Memory
#   SLURM_TESTBED_USERS      test users; each gets an account
#                            of its own name plus "-prj"         "tbalice tbbob"
#   SLURM_TESTBED_OPERATOR   user made a Slurm operator          tbadapter
#   SLURM_TESTBED_MINJOBAGE  MinJobAge in seconds                300
#   SLURM_TESTBED_CREDEXPIRE cred_expire in seconds: a requeued job
#                            waits that long for its next run    120
#   SLURM_TESTBED_HOOK       PrologSlurmctld and EpilogSlurmctld (none)
#   SLURM_TESTBED_PRIVATE    PrivateData value, e.g. jobs,usage  (none)
#   SLURM_TESTBED_EXTRA      further slurm.conf lines            (none)
#   SLURM_TESTBED_PORT_BASE  first of the ports used             26800
#                            (+0 mariadbd, +1 slurmdbd, +2 slurmctld, +10.. slurmd)
#
# PARTITIONS       main (CPU nodes, default), gpu, host, all, shared (FORCE:2), excl
#   (whole nodes), exuser (one user a node), scavenge and scavreq (preempted by
#   urgent: cancelled and requeued), urgent.
#
# NOTES
#   - Munge key, database and all state are the directory's own, so several
#     clusters can run side by side with different port bases.
#   - Processes are known by pid file plus kernel start time; a pid that was
#     reused by another program is never signalled.
#   - If slurmd was built without --enable-multiple-slurmd, start falls back to
#     one node named after the host. Debian's builds play several nodes.
#   - Not reproducible here: OUT_OF_MEMORY (needs cgroups) and BOOT_FAIL.
set -euo pipefail

die()  { echo "slurm_testbed.sh: $*" >&2; exit 1; }
note() { echo "slurm_testbed.sh: $*" >&2; }

usage() { sed -n '2,/^set -euo/p' "$0" | sed '$d; s/^#\( \|$\)//'; }

# --- processes ------------------------------------------------------------

# Kernel start time (clock ticks) of a pid: tells a reused pid from the original.
start_ticks() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    set -- $stat
    [ "$1" != Z ] || return 1
    echo "${20}"
}

# has WORD LINES: is WORD one of the lines?
has() { case $'\n'$2$'\n' in *$'\n'"$1"$'\n'*) return 0 ;; esac; return 1; }

# Remember the process which wrote NAME.pid as ours.
adopt() {
    local name=$1 pid ticks
    pid=$(tr -dc 0-9 <"$RUN/$name.pid")
    ticks=$(start_ticks "$pid") || return 1
    echo "$pid $ticks" >"$RUN/$name.own"
}

# Print the pid if the process we started is still alive.
alive() {
    local pid ticks now
    [ -s "$RUN/$1.own" ] || return 1
    read -r pid ticks <"$RUN/$1.own" || return 1
    now=$(start_ticks "$pid") || return 1
    [ "$now" = "$ticks" ] || return 1
    echo "$pid"
}

# wait_for SECONDS COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

stop_daemon() {
    local name=$1 pid
    if pid=$(alive "$name"); then
        kill -TERM "$pid" 2>/dev/null || true
        wait_for "${2:-20}" gone "$name" || {
            note "$name ($pid) ignored SIGTERM, sending SIGKILL"
            kill -KILL "$pid" 2>/dev/null || true
            wait_for 5 gone "$name" || true
        }
        note "stopped $name"
    fi
    rm -f "$RUN/$name.own" "$RUN/$name.pid"
}

gone() { ! alive "$1" >/dev/null; }

launched() { [ -s "$RUN/$1.pid" ] && adopt "$1"; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_must_be_free() {
    ! port_open "$2" || die "port $2 (for $1) is taken; set SLURM_TESTBED_PORT_BASE"
}

tail_log() { [ ! -f "$LOG/$1.log" ] || tail -n 15 "$LOG/$1.log" >&2; }

# --- the daemons ----------------------------------------------------------

start_munged() {
    alive munged >/dev/null && return
    rm -f "$RUN/munged.pid" "$RUN/munge.sock"*
    munged --force --key-file="$DIR/etc/munge.key" --socket="$RUN/munge.sock" \
        --pid-file="$RUN/munged.pid" --log-file="$LOG/munged.log" \
        --seed-file="$DIR/state/munge.seed" --num-threads=2 2>>"$LOG/munged.log" \
        || { tail_log munged; die "munged does not start"; }
    wait_for 10 launched munged || { tail_log munged; die "munged did not come up"; }
}

start_mariadbd() {
    alive mariadbd >/dev/null && return
    port_must_be_free mariadbd "$P_DB"
    rm -f "$RUN/mariadbd.pid"
    mariadb_server
    wait_for 60 launched mariadbd || { tail_log mariadbd; die "mariadbd did not come up"; }
    wait_for 60 sql -e 'select 1' || { tail_log mariadbd; die "mariadbd does not answer"; }
    sql -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
            CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'testbed';
            GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
}

mariadb_server() {
    local bin
    bin=$(command -v mariadbd || command -v mysqld) || die "no MariaDB server; run install"
    setsid "$bin" --no-defaults --user=root --datadir="$DIR/mysql" \
        --socket="$RUN/mariadbd.sock" --pid-file="$RUN/mariadbd.pid" \
        --bind-address=127.0.0.1 --port="$P_DB" --skip-name-resolve \
        --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
        --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 \
        </dev/null >>"$LOG/mariadbd.log" 2>&1 &
    disown
}

sql() {
    local bin
    bin=$(command -v mariadb || command -v mysql)
    "$bin" --no-defaults --socket="$RUN/mariadbd.sock" --user=root "$@"
}

start_slurmdbd() {
    alive slurmdbd >/dev/null && return
    port_must_be_free slurmdbd "$P_DBD"
    rm -f "$RUN/slurmdbd.pid"
    slurmdbd || die "slurmdbd does not start"
    wait_for 30 launched slurmdbd || { tail_log slurmdbd; die "slurmdbd did not come up"; }
    wait_for 60 port_open "$P_DBD" || { tail_log slurmdbd; die "slurmdbd does not listen"; }
}

start_slurmctld() {
    alive slurmctld >/dev/null && return
    port_must_be_free slurmctld "$P_CTLD"
    rm -f "$RUN/slurmctld.pid"
    slurmctld -i || { tail_log slurmctld; die "slurmctld does not start"; }
    wait_for 30 launched slurmctld || { tail_log slurmctld; die "slurmctld did not come up"; }
    wait_for 30 scontrol ping || { tail_log slurmctld; die "slurmctld does not answer"; }
}

start_slurmd() {
    local node=$1 name=slurmd-$1
    alive "$name" >/dev/null && return
    rm -f "$RUN/$name.pid"
    mkdir -p "$DIR/spool/$node"
    if [ "$(cat "$DIR/etc/mode")" = single ]; then
        slurmd
    else
        slurmd -N "$node"
    fi || { tail_log "$name"; return 1; }
    wait_for 30 launched "$name" || { tail_log "$name"; return 1; }
}

nodes() { cat "$DIR/etc/nodes"; }

daemons() {
    echo munged; echo mariadbd; echo slurmdbd; echo slurmctld
    [ ! -f "$DIR/etc/nodes" ] || nodes | sed 's/^/slurmd-/'
}

start_one() {
    case $1 in
        munged|mariadbd|slurmdbd|slurmctld) "start_$1" ;;
        slurmd-*) start_slurmd "${1#slurmd-}" || die "$1 does not start" ;;
        *) die "unknown daemon $1" ;;
    esac
}

# --- configuration --------------------------------------------------------

# names PREFIX COUNT: PREFIX01, PREFIX02, ...
names() { [ "$2" -eq 0 ] || seq -f "$1%02g" 1 "$2"; }

# node_line NODE LAYOUT [FURTHER]: its slurm.conf line; the port follows from its place in the list.
node_line() {
    local sockets cores threads place
    IFS=: read -r sockets cores threads <<<"$2"
    place=$(nodes | grep -nx "$1" | cut -d: -f1)
    echo "NodeName=$1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((P_SLURMD + place - 1))" \
        "Sockets=$sockets CoresPerSocket=$cores ThreadsPerCore=$threads RealMemory=$MEMORY ${3:-}"
}

# partition NAME NODES [FURTHER]: its slurm.conf line, if it has nodes.
partition() { [ -z "$2" ] || echo "PartitionName=$1 Nodes=${2//$'\n'/,} ${3:-}"; }

write_nodes() {
    local mode=$1 n cpu gpu host
    if [ "$mode" = single ]; then
        cpu='' gpu='' host=''
        if [ "$N_GPU" -gt 0 ]; then gpu=$HOST; else cpu=$HOST; fi
    else
        cpu=$(names tbn "$N_CPU") gpu=$(names tbg "$N_GPU") host=$(names tbh "$N_HOST")
    fi
    printf '%s\n' "$cpu" "$gpu" "$host" | sed '/^$/d' >"$DIR/etc/nodes"
    echo "$mode" >"$DIR/etc/mode"
    {
        for n in $cpu; do node_line "$n" "$LAYOUT"; done
        for n in $gpu; do node_line "$n" "$LAYOUT" "Gres=gpu:$GPUTYPE:$GPUS"; done
        for n in $host; do node_line "$n" "$HOSTLAYOUT"; done
        echo "PartitionName=DEFAULT MaxTime=1-00:00:00 DefaultTime=10 State=UP PreemptMode=OFF PriorityTier=5"
        partition main "$cpu" Default=YES
        partition gpu "$gpu" "Default=$([ -z "$cpu" ] && echo YES || echo NO)"
        partition host "$host"
        echo "PartitionName=all Nodes=ALL OverSubscribe=NO"
        echo "PartitionName=shared Nodes=ALL OverSubscribe=FORCE:2"
        echo "PartitionName=excl Nodes=ALL OverSubscribe=EXCLUSIVE"
        echo "PartitionName=exuser Nodes=ALL ExclusiveUser=YES"
        echo "PartitionName=scavenge Nodes=ALL PriorityTier=1 PreemptMode=CANCEL"
        echo "PartitionName=scavreq Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE"
        echo "PartitionName=urgent Nodes=ALL PriorityTier=10"
    } >"$DIR/etc/nodes.conf"
    : >"$DIR/etc/gres.conf"
    [ -n "$gpu" ] || return 0
    mkdir -p "$DIR/dev"
    for ((n = 0; n < GPUS; n++)); do ln -sfn /dev/null "$DIR/dev/gpu$n"; done
    for n in $gpu; do
        echo "NodeName=$n AutoDetect=off Name=gpu Type=$GPUTYPE File=$DIR/dev/gpu[0-$((GPUS - 1))]"
    done >>"$DIR/etc/gres.conf"
}

write_config() {
    [ ! -f "$DIR/etc/slurm.conf" ] || return 0
    mkdir -p "$DIR/etc" "$RUN" "$LOG" "$DIR/state/ctld" "$DIR/spool" "$DIR/tmp"
    chmod 755 "$DIR" "$DIR/etc" "$RUN"
    chmod 1777 "$DIR/tmp"
    ( umask 077; head -c 1024 /dev/urandom >"$DIR/etc/munge.key" )
    echo "$BASE" >"$DIR/etc/port-base"
    echo "$USERS" >"$DIR/etc/users"
    echo "$OPERATOR" >"$DIR/etc/operator"
    echo "$CLUSTER" >"$DIR/etc/cluster"

    ( umask 077; cat >"$DIR/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$RUN/munge.sock
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$P_DBD
SlurmUser=root
DebugLevel=info
LogFile=$LOG/slurmdbd.log
PidFile=$RUN/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$P_DB
StorageUser=slurm
StoragePass=testbed
StorageLoc=slurm_acct_db
CONF
    )
    [ -z "$PRIVATE" ] || echo "PrivateData=$PRIVATE" >>"$DIR/etc/slurmdbd.conf"

    {
        cat <<CONF
ClusterName=$CLUSTER
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$P_CTLD
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$RUN/munge.sock,cred_expire=$CREDEXPIRE
StateSaveLocation=$DIR/state/ctld
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$RUN/slurmctld.pid
SlurmdPidFile=$RUN/slurmd-%n.pid
SlurmctldLogFile=$LOG/slurmctld.log
SlurmdLogFile=$LOG/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
TmpFS=$DIR/tmp
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=$SELECT
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5,requeue_setup_env_fail
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=500
KillWait=3
MinJobAge=$MINJOBAGE
SlurmctldTimeout=60
SlurmdTimeout=60
InactiveLimit=0
Waittime=0
CompleteWait=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$P_DBD
AccountingStoragePass=$RUN/munge.sock
AccountingStorageTRES=gres/gpu,gres/gpu:$GPUTYPE
AccountingStorageEnforce=associations
AccountingStoreFlags=job_script,job_env,job_comment
CONF
        [ -z "$HOOK" ] || printf 'PrEpPlugins=prep/script\nPrologSlurmctld=%s\nEpilogSlurmctld=%s\n' "$HOOK" "$HOOK"
        [ -z "$PRIVATE" ] || echo "PrivateData=$PRIVATE"
        [ -z "$EXTRA" ] || printf '%s\n' "$EXTRA"
        echo "include $DIR/etc/nodes.conf"
    } >"$DIR/etc/slurm.conf"
    # slurmd loads a cgroup plugin even when nothing uses it. Only since 23.02
    # it can be switched off; before, naming one keeps slurmd from probing mounts.
    if [ "$(slurm_major)" -ge 23 ]; then echo CgroupPlugin=disabled; else echo CgroupPlugin=cgroup/v1; fi >"$DIR/etc/cgroup.conf"
    write_nodes multi
}

slurm_major() { slurmctld -V | sed 's/^[^0-9]*\([0-9]*\).*/\1/'; }

# Commands which find this cluster without any environment.
write_wrappers() {
    local c enter=
    mkdir -p "$DIR/bin"
    [ -z "$TREE" ] || enter="chroot '$TREE' "
    for c in sacct sacctmgr salloc sbatch scancel scontrol sdiag sinfo sprio squeue srun sshare strigger; do
        printf '#!/bin/sh\nexec %senv SLURM_CONF=%s /usr/bin/%s "$@"\n' "$enter" "'$DIR/etc/slurm.conf'" "$c" >"$DIR/bin/$c"
        chmod 755 "$DIR/bin/$c"
    done
}

make_users() {
    local u
    for u in $(cat "$DIR/etc/users") $(cat "$DIR/etc/operator"); do
        id "$u" >/dev/null 2>&1 || { useradd --no-create-home --home-dir "$DIR/tmp" --shell /bin/bash "$u" && note "created user $u"; }
    done
}

make_accounts() {
    local u op cluster
    cluster=$(cat "$DIR/etc/cluster")
    wait_for 30 sacctmgr -n list cluster || die "sacctmgr does not answer"
    has "$cluster" "$(sacctmgr -nP list cluster format=cluster)" || sacctmgr -iQ add cluster "$cluster" >/dev/null
    for u in $(cat "$DIR/etc/users"); do
        [ -n "$(sacctmgr -nP list account "$u-prj" format=account)" ] \
            || sacctmgr -iQ add account "$u-prj" cluster="$cluster" description="$u project" organization=testbed >/dev/null
        [ -n "$(sacctmgr -nP list user "$u" format=user)" ] \
            || sacctmgr -iQ add user "$u" cluster="$cluster" account="$u-prj" >/dev/null
    done
    op=$(cat "$DIR/etc/operator")
    if [ -n "$op" ]; then
        [ -n "$(sacctmgr -nP list user "$op" format=user)" ] \
            || sacctmgr -iQ add user "$op" cluster="$cluster" account=root adminlevel=operator >/dev/null
    fi
}

all_nodes_up() {
    local n s
    for n in $(nodes); do
        s=$(sinfo -h -N -n "$n" -o '%T' | head -n1)
        case $s in idle|mixed|allocated|completing) ;; *) return 1 ;; esac
    done
}

# --- sub-commands ---------------------------------------------------------

cmd_install() {
    local want=() p
    for p in $PACKAGES; do
        [ "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" = 'install ok installed' ] || want+=("$p")
    done
    [ ${#want[@]} -gt 0 ] || { note "already installed: $(slurmctld -V)"; return; }
    # The packages must not start their services: keep policy-rc.d denying meanwhile.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; fi
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null \
        || { [ -z "$made" ] || rm -f "$policy"; die "apt-get install failed"; }
    [ -z "$made" ] || rm -f "$policy"
    note "installed: $(slurmctld -V)"
}

cmd_start() {
    local c
    for c in munged slurmdbd slurmctld slurmd sinfo sacctmgr; do
        command -v "$c" >/dev/null || die "$c is missing; run: $0 install"
    done
    write_config
    write_wrappers
    make_users
    if [ ! -d "$DIR/mysql/mysql" ]; then
        mariadb-install-db --no-defaults --user=root --datadir="$DIR/mysql" \
            --auth-root-authentication-method=normal --skip-test-db >"$LOG/mariadb-install.log" 2>&1 \
            || { tail_log mariadb-install; die "cannot create the database"; }
    fi
    start_munged
    start_mariadbd
    start_slurmdbd
    make_accounts
    start_slurmctld
    start_nodes
    wait_for 60 all_nodes_up || { sinfo -N -l >&2; die "nodes did not come up"; }
    note "up: cluster $(cat "$DIR/etc/cluster"), $(nodes | wc -l) node(s); eval \"\$($0 env $DIR)\""
}

start_nodes() {
    local n
    for n in $(nodes); do
        start_slurmd "$n" || { [ "$(cat "$DIR/etc/mode")" = multi ] || die "slurmd does not start"; break; }
    done
    ! all_started || return 0
    note "slurmd does not start for every node; trying one node named $HOST"
    for n in $(nodes); do stop_daemon "slurmd-$n"; done
    stop_daemon slurmctld
    write_nodes single
    start_slurmctld
    start_slurmd "$HOST" || die "slurmd does not start"
}

all_started() {
    local n
    for n in $(nodes); do alive "slurmd-$n" >/dev/null || return 1; done
}

cmd_stop() {
    local n
    [ -f "$DIR/etc/slurm.conf" ] || { note "nothing in $DIR"; return; }
    if alive slurmctld >/dev/null && alive munged >/dev/null; then
        squeue -h -o %A 2>/dev/null | sort -u | timeout 20 xargs -r scancel 2>/dev/null || true
        wait_for 15 queue_empty || true
    fi
    for n in $(nodes); do stop_daemon "slurmd-$n"; done
    stop_steps
    stop_daemon slurmctld
    stop_daemon slurmdbd
    stop_daemon mariadbd 60
    stop_daemon munged
}

queue_empty() { [ -z "$(squeue -h -o %A)" ]; }

# Step daemons outlive slurmd: end those that belong to this directory.
stop_steps() {
    local p
    for p in /proc/[0-9]*; do
        case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in slurmstepd*) ;; *) continue ;; esac
        [ "$p/root" -ef / ] || continue
        has "SLURM_CONF=$SLURM_CONF" "$(tr '\0' '\n' 2>/dev/null <"$p/environ")" || continue
        kill_family "${p#/proc/}"
    done
}

kill_family() {
    local c
    for c in $(cat "/proc/$1/task"/*/children 2>/dev/null); do kill_family "$c"; done
    kill -KILL "$1" 2>/dev/null || true
}

cmd_status() {
    local d pid bad=0
    [ -f "$DIR/etc/slurm.conf" ] || { echo "not set up: $DIR"; return 3; }
    for d in $(daemons); do
        if pid=$(alive "$d"); then echo "$d up $pid"; else echo "$d down"; bad=1; fi
    done
    [ "$bad" = 0 ] || return 1
    sinfo -N -o '%N %P %T %c %m %G'
}

cmd_env() {
    [ -n "$TREE" ] || echo "export SLURM_CONF='$DIR/etc/slurm.conf'"
    echo "export PATH='$TREE$DIR/bin':\"\$PATH\""
}

cmd_run() {
    local user=$1; shift
    [ "${1:-}" != -- ] || shift
    cd "$DIR/tmp"
    exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
        env HOME="$DIR/tmp" USER="$user" LOGNAME="$user" "$@"
}

cmd_purge() {
    cmd_stop
    case $DIR in /|/root|/home|/tmp|/var|/usr|/etc) die "refusing to delete $DIR" ;; esac
    [ -f "$DIR/etc/slurm.conf" ] || return 0
    rm -rf "$DIR"
    note "deleted $DIR"
}

# --- other Slurm versions -------------------------------------------------

cmd_tree() {
    local suite=$1 path=$2
    [ ! -x "$path/usr/sbin/slurmctld" ] || { note "already there: $path ($(chroot "$path" slurmctld -V))"; return; }
    [ ! -e "$path" ] || die "$path exists and is no such tree"
    command -v mmdebstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null \
        || die "cannot install mmdebstrap"
    mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --include="${PACKAGES// /,},mariadb-client,procps,python3" "$suite" "$path" ${MIRROR:+"$MIRROR"} || die "mmdebstrap failed"
    note "ready: $path ($(chroot "$path" slurmctld -V))"
}

cmd_untree() {
    local path=$1
    [ -x "$path/usr/sbin/slurmctld" ] && [ "$path" != / ] || { note "no tree in $path"; return; }
    ! mountpoint -q "$path/proc" || umount "$path/proc" || die "$path is in use"
    rm -rf --one-file-system "$path"
    note "deleted $path"
}

# Run this sub-command inside the tree.
enter_tree() {
    local tree=$1; shift
    [ -x "$tree/usr/sbin/slurmctld" ] || die "no tree in $tree; run: $0 tree <suite> $tree"
    mountpoint -q "$tree/proc" || mount -t proc proc "$tree/proc" || die "cannot mount $tree/proc"
    cmp -s "$0" "$tree/usr/local/sbin/slurm_testbed.sh" || install -m 755 "$0" "$tree/usr/local/sbin/slurm_testbed.sh"
    cmp -s /etc/hosts "$tree/etc/hosts" || cp /etc/hosts "$tree/etc/hosts"
    exec env -u SLURM_TESTBED_TREE -u SLURM_CONF SLURM_TESTBED_OUTSIDE="$tree" chroot "$tree" /usr/local/sbin/slurm_testbed.sh "$@"
}

# --- main -----------------------------------------------------------------

PACKAGES="slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge mariadb-server"
MIRROR=${SLURM_TESTBED_MIRROR:-}
TREE=${SLURM_TESTBED_OUTSIDE:-}

CMD=${1:-help}
case $CMD in
    help|-h|--help) usage; exit 0 ;;
    install|tree|untree) ;;
    *) [ -z "${SLURM_TESTBED_TREE:-}" ] || enter_tree "${SLURM_TESTBED_TREE%/}" "$@" ;;
esac
[ $# -eq 0 ] || shift
NAME=
case $CMD in
    install) cmd_install; exit 0 ;;
    tree)   [ $# = 2 ] || die "usage: $0 tree <suite> <path>"; cmd_tree "$1" "${2%/}"; exit 0 ;;
    untree) [ $# = 1 ] || die "usage: $0 untree <path>"; cmd_untree "${1%/}"; exit 0 ;;
    down|up|run) NAME=${1:-}; [ -n "$NAME" ] || die "$CMD needs a name"; shift ;;
    start|stop|status|env|purge) ;;
    *) usage >&2; exit 2 ;;
esac

DIR=${SLURM_TESTBED_DIR:-/tmp/slurm-testbed}
if [ $# -gt 0 ] && [ "$1" != -- ]; then DIR=$1; shift; fi
case $DIR in /*) ;; *) DIR=$PWD/$DIR ;; esac
DIR=${DIR%/}
[ "$(id -u)" = 0 ] || [ "$CMD" = env ] || die "must run as root"

HOST=$(hostname -s)
CLUSTER=${SLURM_TESTBED_CLUSTER:-tbcluster}
N_CPU=${SLURM_TESTBED_NODES:-2}
N_GPU=${SLURM_TESTBED_GPUNODES:-1}
LAYOUT=${SLURM_TESTBED_LAYOUT:-2:4:2}
N_HOST=${SLURM_TESTBED_HOSTNODES:-0}
HOSTLAYOUT=${SLURM_TESTBED_HOSTLAYOUT:-1:1:1}
MEMORY=${SLURM_TESTBED_MEMORY:-16000}
GPUS=${SLURM_TESTBED_GPUS:-4}
GPUTYPE=${SLURM_TESTBED_GPUTYPE:-a100}
SELECT=${SLURM_TESTBED_SELECT:-CR_Core_Memory}
USERS=${SLURM_TESTBED_USERS:-tbalice tbbob}
OPERATOR=${SLURM_TESTBED_OPERATOR-tbadapter}
MINJOBAGE=${SLURM_TESTBED_MINJOBAGE:-300}
CREDEXPIRE=${SLURM_TESTBED_CREDEXPIRE:-120}
HOOK=${SLURM_TESTBED_HOOK:-}
PRIVATE=${SLURM_TESTBED_PRIVATE:-}
EXTRA=${SLURM_TESTBED_EXTRA:-}
BASE=${SLURM_TESTBED_PORT_BASE:-26800}
[ ! -f "$DIR/etc/port-base" ] || BASE=$(cat "$DIR/etc/port-base")
P_DB=$BASE P_DBD=$((BASE + 1)) P_CTLD=$((BASE + 2)) P_SLURMD=$((BASE + 10))
RUN=$DIR/run LOG=$DIR/log
export SLURM_CONF=$DIR/etc/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin

case $CMD in
    start)  cmd_start ;;
    stop)   cmd_stop ;;
    status) cmd_status ;;
    env)    cmd_env ;;
    up)     start_one "$NAME" ;;
    down)   has "$NAME" "$(daemons)" || die "unknown daemon $NAME"; stop_daemon "$NAME" ;;
    run)    cmd_run "$NAME" "$@" ;;
    purge)  cmd_purge ;;
esac
