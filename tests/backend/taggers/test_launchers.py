import pytest

from cc_backend.taggers.launchers import started_programs


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("prog -a", "prog"),
        ("srun prog", "prog"),
        ("srun -n 4 --mem=4G --time 10 -- prog x", "prog"),
        ("mpirun -np 4 --mca a b --report-bindings prog x", "prog"),
        ("/usr/bin/time -v prog", "prog"),
        ("timeout -k 5 10m prog", "prog"),
        ("env A=1 -u B prog", "prog"),
        ("nice -n 5 ionice -c 3 prog", "prog"),
        ("singularity exec --nv -B a:b image.sif prog x", "prog"),
        ("docker run --rm -it image prog", "prog"),
        ("conda run -n env prog", "prog"),
        ("conda install prog", "conda"),
        ("perf record -o x prog", "prog"),
        ("perf report", "perf"),
        ("srun", ""),
        ("srun -n", ""),
        ("singularity run image.sif", ""),
    ],
)
def test_the_program_follows_behind_launchers_and_their_options(command: str, program: str) -> None:
    assert [found.name for found in started_programs(tuple(command.split()))] == [program]


def test_images_and_parallel_launchers_are_noted() -> None:
    (found,) = started_programs(("srun", "--container-image", "a.sqsh", "apptainer", "exec", "b.sif", "/bin/prog", "x"))
    assert (found.base_name, found.arguments, found.images) == ("prog", ("x",), ("a.sqsh", "b.sif"))
    assert found.is_parallel
    assert not next(started_programs(("nice", "prog"))).is_parallel


def test_an_mpi_job_may_have_several_programs_but_not_without_end() -> None:
    found = started_programs(("mpirun", "-n", "1", "a", ":", "-n", "2", "b"))
    assert sorted(program.name for program in found) == ["a", "b"]
    assert len(list(started_programs(("mpirun", *["a", ":"] * 5000)))) == 16


def test_launchers_of_launchers_end_somewhere() -> None:
    assert [program.name for program in started_programs(("nice",) * 1000)] == [""]
