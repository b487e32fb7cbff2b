import pytest

from cc_backend.taggers.application_list import ApplicationList, KnownApplication, shipped_applications


@pytest.fixture(scope="module")
def known() -> ApplicationList:
    return ApplicationList.of(shipped_applications())


def tag(application: KnownApplication | None) -> str:
    return application.tag if application else ""


def test_the_list_has_many_applications_each_with_something_to_find_it_by(known: ApplicationList) -> None:
    assert len(known.applications) >= 150
    for application in known.applications.values():
        assert application.programs or application.python, application.tag
        assert application.tag == application.tag.lower()


def test_no_name_belongs_to_two_applications() -> None:
    for kind in ("programs", "modules", "names", "python"):
        names = [name for application in shipped_applications() for name in getattr(application, kind)]
        assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gmx_mpi", "gromacs"),
        ("GMX", "gromacs"),
        ("vasp_std_gpu", "vasp"),
        ("vasp_input.py", ""),
        ("lmp_run.sh", ""),
        ("gmxfoo", ""),
        ("", ""),
        ("g" * 10_000, ""),
    ],
)
def test_programs_are_found_by_their_whole_name(name: str, expected: str, known: ApplicationList) -> None:
    assert tag(known.by_program(name)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GROMACS/2023.3-foss-2023a", "gromacs"),
        ("chem/lammps/29Aug2024", "lammps"),
        ("docker://nvcr.io/nvidia/pytorch:23.10-py3", "pytorch"),
        ("openfoam@2212", "openfoam"),
        ("quantumespresso/7.2", "quantum-espresso"),
        ("mygromacs", ""),
        ("ray-tools/1", "ray"),
        ("rayleigh", ""),
        ("", ""),
    ],
)
def test_modules_are_found_without_version(name: str, expected: str, known: ApplicationList) -> None:
    assert tag(known.by_module(name)) == expected


def test_python_modules_count_with_what_is_inside_of_them(known: ApplicationList) -> None:
    assert tag(known.by_python_module("torch.distributed.run")) == "pytorch"
    assert tag(known.by_python_module("torchlike")) == ""
