"""The program that a command starts in the end: `srun -n 4 numactl -l ./prog` starts prog. Pure.

Launchers, containers, profilers and the like are commands that start another one, which follows behind their options.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_MAX_LAUNCHERS = 8
_MAX_PARTS = 16


@dataclass(frozen=True, slots=True)
class Launcher:
    """How a launcher's command line is read.

    `values` maps options to the number of words that follow them, `positional` is the number of words between the
    options and the program, `subcommands` are the first words with which it starts a program (none: always).
    """

    values: Mapping[str, int] = field(default_factory=dict)
    positional: int = 0
    subcommands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StartedProgram:
    """A program, with its directory if the script names it, its arguments, and the container images around it.

    `is_parallel` says whether a launcher of parallel programs starts it.
    """

    name: str
    arguments: tuple[str, ...]
    images: tuple[str, ...] = ()
    is_parallel: bool = False

    @property
    def base_name(self) -> str:
        """Its name without directory."""
        return self.name.rpartition("/")[2]


def _options(text: str, pairs: str = "") -> dict[str, int]:
    return {**dict.fromkeys(text.split(), 1), **dict.fromkeys(pairs.split(), 2)}


_MPIRUN = Launcher(
    _options(
        "-n -np --np -c -N -npernode --npernode -npersocket -ppn -perhost -host --host -H -hosts --hosts -hostfile "
        "--hostfile -machinefile --machinefile -f -x --map-by -map-by --bind-to -bind-to --rank-by -rank-by --prefix "
        "-wdir --wdir -wd -bootstrap -iface -genvlist -envlist -output-filename --output-filename -cpus-per-proc "
        "--cpus-per-proc -configfile -path -launcher -rmk --timeout -tune --tune -cpu-set --cpu-set -s",
        pairs="-genv -env --mca -mca --gmca -gmca --prtemca",
    )
)
_CONTAINER_OPTIONS = _options(
    "-B --bind -H --home -W --workdir --env --env-file --pwd --cwd --overlay -S --scratch --mount --app -v --volume -e "
    "-w --name --network --user -u --gpus --shm-size --ipc --entrypoint --platform"
)
_CONTAINER = Launcher(_CONTAINER_OPTIONS, positional=1, subcommands=("exec", "run", "start"))

LAUNCHERS: Mapping[str, Launcher] = {
    "srun": Launcher(
        _options(
            "-A -B -C -c -D -d -e -F -G -i -J -L -M -m -N -n -o -p -q -r -S -T -t -w -W -x --ntasks --nodes --mem "
            "--cpus-per-task --ntasks-per-node --time --partition --account --output --error --input --job-name --qos "
            "--nodelist --exclude --constraint --gres --gpus --gpus-per-task --gpus-per-node --cpu-bind --cpu_bind "
            "--mem-bind --distribution --mpi --het-group --hint --threads-per-core --relative --chdir --export "
            "--container-image --container-mounts --container-name --container-workdir --network --reservation "
            "--gpu-bind --mem-per-cpu --tasks-per-node --cores-per-socket --wait --kill-on-bad-exit"
        )
    ),
    **dict.fromkeys(
        ("mpirun", "mpiexec", "mpiexec.hydra", "mpiexec.slurm", "orterun", "prterun", "mpirun_rsh", "prun"), _MPIRUN
    ),
    "aprun": Launcher(_options("-n -N -d -S -j -cc -L -m -e -D -sn -sl -r")),
    "ibrun": Launcher(_options("-n -o")),
    "jsrun": Launcher(
        _options(
            "-n -a -c -g -r -l -b -d -E -M -p --nrs --np --tasks_per_rs --cpu_per_rs --gpu_per_rs --rs_per_host --bind "
            "--launch_distribution --latency_priority --smpiargs"
        )
    ),
    "ccc_mprun": Launcher(_options("-n -c -N -p -E -K")),
    "flux": Launcher(_options("-n -N -c -g -t --tasks --nodes"), subcommands=("run", "submit")),
    "time": Launcher(_options("-o -f")),
    **dict.fromkeys(("nohup", "setsid", "builtin", "catchsegv", "mpitrace", "scorep"), Launcher()),
    "exec": Launcher(_options("-a")),
    "env": Launcher(_options("-u -C -S")),
    "nice": Launcher(_options("-n")),
    "ionice": Launcher(_options("-c -n")),
    "numactl": Launcher(_options("-m -C -N -i -p --membind --physcpubind --cpunodebind --interleave --preferred")),
    "taskset": Launcher(positional=1),
    "timeout": Launcher(_options("-k -s --kill-after --signal"), positional=1),
    "stdbuf": Launcher(_options("-i -o -e")),
    "chrt": Launcher(positional=1),
    "sudo": Launcher(_options("-u -g")),
    "xargs": Launcher(_options("-n -P -I -d -L -a -s")),
    "parallel": Launcher(_options("-j --jobs -a --joblog --delay --colsep -N --sshloginfile -S --env --results")),
    "likwid-perfctr": Launcher(_options("-C -c -g -G -o -O -T -s -t -w -M")),
    "likwid-pin": Launcher(_options("-c -C -s -d -M")),
    "likwid-mpirun": Launcher(_options("-np -n -pin -g -nperdomain -omp -mpi -hostfile -s -d")),
    "perf": Launcher(_options("-e -o -F -g -C -p -r -x"), subcommands=("stat", "record")),
    "valgrind": Launcher(),
    "nsys": Launcher(
        _options("-o -t -s -c --output --trace --sample --capture-range"), subcommands=("profile", "launch")
    ),
    "ncu": Launcher(
        _options(
            "-o -k -c -s --set --section --metrics --kernel-name --launch-count --launch-skip --target-processes"
        )
    ),
    "rocprof": Launcher(_options("-i -o -d")),
    "strace": Launcher(_options("-o -e -p -s")),
    "vtune": Launcher(_options("-collect -result-dir -r -knob -c")),
    "hpcrun": Launcher(_options("-e -o")),
    "scalasca": Launcher(_options("-e -f")),
    "scan": Launcher(_options("-e -f")),
    "tau_exec": Launcher(_options("-T")),
    "map": Launcher(_options("-o")),
    **dict.fromkeys(("singularity", "apptainer", "podman", "docker", "udocker", "sarus", "enroot"), _CONTAINER),
    "shifter": Launcher(_options("--volume --module --env")),
    "ch-run": Launcher(_options("-b --bind -c --cd -j --join --set-env"), positional=1),
    "conda": Launcher(_options("-n --name -p --prefix"), subcommands=("run",)),
    "mamba": Launcher(_options("-n --name -p --prefix"), subcommands=("run",)),
    "micromamba": Launcher(_options("-n --name -p --prefix"), subcommands=("run",)),
    "pixi": Launcher(_options("-e --environment"), subcommands=("run",)),
    "uv": Launcher(_options("--with --python -p"), subcommands=("run",)),
    "poetry": Launcher(subcommands=("run",)),
    "pipenv": Launcher(subcommands=("run",)),
}  # fmt: skip
_IMAGE_OPTIONS = ("--image", "--container-image")
_PARALLEL = frozenset({"srun", "orterun", "prterun", "prun", "aprun", "ibrun", "jsrun", "ccc_mprun", "flux"})
_CONTAINERS = frozenset({"singularity", "apptainer", "podman", "docker", "udocker", "sarus", "enroot", "ch-run"})


def started_programs(words: tuple[str, ...]) -> Iterator[StartedProgram]:
    """The programs that a command starts: several for the parts of an MPI job that `:` separates.

    A launcher that names none, such as a container that runs what its image says, is one without a name.
    """
    images: list[str] = []
    is_parallel = False
    for _ in range(_MAX_LAUNCHERS):
        if not words:
            return
        name = words[0].rpartition("/")[2]
        launcher = LAUNCHERS.get(name)
        if launcher is None or (launcher.subcommands and words[1:2] and words[1] not in launcher.subcommands):
            yield StartedProgram(words[0], words[1:], tuple(images), is_parallel)
            return
        is_parallel = is_parallel or name in _PARALLEL or name.startswith("mpi")
        rest = words[2:] if launcher.subcommands else words[1:]
        if name.startswith("mpi") and ":" in rest:
            rest, *others = _split_at_colons(rest)
            for other in others:
                yield from started_programs((name, *other))
        words = _behind_options(rest, launcher, images, takes_image=name in _CONTAINERS)
    yield StartedProgram("", (), tuple(images), is_parallel)


def _split_at_colons(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The parts of an MPI job with several programs, 16 at most."""
    parts: list[tuple[str, ...]] = []
    start = 0
    for index in [index for index, word in enumerate(words) if word == ":"][: _MAX_PARTS - 1]:
        parts.append(words[start:index])
        start = index + 1
    return [*parts, tuple(word for word in words[start:] if word != ":")]


def _behind_options(
    words: tuple[str, ...], launcher: Launcher, images: list[str], *, takes_image: bool
) -> tuple[str, ...]:
    """The words from the program on; image names are added to `images`, and an image's own program is ``""``."""
    at, left = 0, launcher.positional
    while at < len(words):
        word = words[at]
        option, sign, value = word.partition("=")
        if word == "--":
            at += 1
            if not left:
                break
        elif word.startswith("-"):
            if option in _IMAGE_OPTIONS:
                images.append(value if sign else "".join(words[at + 1 : at + 2]))
                at += 1 if sign else 2
            else:
                at += 1 + (0 if sign else launcher.values.get(word, 0))
        elif left:
            if takes_image:
                images.append(word)
            left -= 1
            at += 1
        elif sign and option.isidentifier():  # env NAME=VALUE
            at += 1
        else:
            break
    found = words[at:]
    return found or ("",)
