"""Applications by scripts: one literal script after the other, and how often the detector is right over all of them."""

import pytest

from cc_backend.taggers.application_list import ApplicationList, shipped_applications
from cc_backend.taggers.detect_applications import detect_applications

BASH = "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --time=01:00:00\n"

# tags, separated by blanks -> scripts in which exactly these applications run
PLAIN = [
    ("gromacs", "srun gmx_mpi mdrun -deffnm md -ntomp 4"),
    ("gromacs", "gmx grompp -f md.mdp -c conf.gro\ngmx mdrun -s topol.tpr"),
    ("gromacs", "mpirun -np 64 /opt/gromacs-2023/bin/mdrun_mpi -s md.tpr"),
    ("lammps", "srun --ntasks=128 lmp -in in.melt"),
    ("lammps", "mpiexec -n 16 lmp_mpi < in.lj > log.lj"),
    ("vasp", "srun vasp_std"),
    ("vasp", "mpirun -np 40 vasp_gam > vasp.out"),
    ("vasp", "srun -n 96 --cpu-bind=cores vasp_ncl"),
    ("cp2k", "mpirun cp2k.psmp -i input.inp -o out.log"),
    ("cp2k", "srun /apps/cp2k/exe/local/cp2k.popt H2O.inp"),
    ("quantum-espresso", "mpirun -np 48 pw.x -npool 4 -in scf.in > scf.out"),
    ("quantum-espresso", "srun ph.x < ph.in"),
    ("namd", "namd3 +p8 +devices 0,1 prod.namd > prod.log"),
    ("namd", "charmrun ++p 4 x\nsrun namd2 run.conf"),
    ("openfoam", "mpirun -np 32 simpleFoam -parallel"),
    ("openfoam", "blockMesh && decomposePar -force\nsrun pimpleFoam -parallel\nreconstructPar"),
    ("openfoam", "srun interFoam -parallel > log.interFoam 2>&1"),
    ("openfoam", "./Allrun"),
    ("wrf", "mpirun ./wrf.exe"),
    ("wrf", "srun ./real.exe\nsrun ./wrf.exe"),
    ("matlab", "matlab -nodisplay -batch 'run_all'"),
    ("abaqus", "abaqus job=beam input=beam.inp cpus=16 interactive"),
    ("fluent", "fluent 3ddp -g -t32 -cnf=hosts -i run.jou"),
    ("cfx", "cfx5solve -def wing.def -par-dist $HOSTS"),
    ("ansys-mechanical", "ansys231 -b -np 16 -i in.dat -o out.txt"),
    ("comsol", "comsol batch -inputfile model.mph -outputfile res.mph"),
    ("starccm", "starccm+ -batch run.java -np 64 -podkey $KEY wing.sim"),
    ("gaussian", "g16 < benzene.com > benzene.log"),
    ("orca", "/opt/orca/5.0/orca water.inp > water.out"),
    ("nwchem", "mpirun -np 16 nwchem h2o.nw"),
    ("siesta", "srun siesta < run.fdf"),
    ("openmolcas", "pymolcas -np 4 casscf.input"),
    ("amber", "pmemd.cuda -O -i prod.in -o prod.out -p top.prmtop"),
    ("amber", "srun sander.MPI -O -i min.in"),
    ("icon", "srun -l ./icon"),
    ("fesom", "srun ./fesom.x"),
    ("nek5000", "mpiexec -np 512 ./nek5000"),
    ("specfem", "srun ./bin/xmeshfem3D\nsrun ./bin/xspecfem3D"),
    ("relion", "mpirun -n 5 relion_refine_mpi --i particles.star --gpu"),
    ("alphafold", "python3 /app/alphafold/run_alphafold.py --fasta_paths=T1.fasta"),
    ("alphafold", "colabfold_batch in.csv out/"),
    ("blast", "blastn -query q.fa -db nt -num_threads 16"),
    ("bwa", "bwa mem -t 16 ref.fa r1.fq r2.fq > out.sam"),
    ("bwa samtools", "bwa mem ref.fa a.fq | samtools sort -o out.bam -"),
    ("nextflow", "nextflow run nf-core/rnaseq -profile slurm"),
    ("snakemake", "snakemake --cores 32"),
    ("ior", "srun ior -a MPIIO -b 4g -t 1m"),
    ("hpl", "mpirun -np 4 ./xhpl"),
    ("stream", "OMP_NUM_THREADS=72 ./stream_c.exe"),
    ("osu-benchmarks", "srun -N 2 --ntasks-per-node=1 osu_bw"),
    ("julia", "julia --threads 16 sim.jl"),
    ("r", "Rscript analysis.R 42"),
    ("r", "R CMD BATCH --vanilla fit.R"),
    ("python", "python train.py --epochs 10"),
    ("python", "srun python3.11 -u main.py"),
    ("pytorch", "torchrun --nproc_per_node=4 train.py"),
    ("pytorch", "python -m torch.distributed.run --nnodes=2 train.py"),
    ("tensorflow", "python - <<'EOF'\nimport tensorflow as tf\nprint(tf.__version__)\nEOF"),
    ("jax", "python3 -c 'import jax; print(jax.devices())'"),
    ("gpaw", "srun gpaw python relax.py"),
    ("turbomole", "ridft > ridft.out\nrdgrad > rdgrad.out"),
    ("dftb", "dftb+ | tee log"),
    ("xtb", "xtb mol.xyz --opt"),
    ("castep", "mpirun castep.mpi diamond"),
    ("fhi-aims", "srun aims.231212.scalapack.mpi.x > aims.out"),
    ("octopus", "mpirun -np 8 octopus"),
    ("ls-dyna", "mpirun -np 32 ls-dyna_mpp_d i=main.k memory=200m"),
    ("code_saturne", "code_saturne run --param setup.xml"),
    ("elmer", "mpirun ElmerSolver_mpi case.sif"),
    ("su2", "mpirun -n 64 SU2_CFD turb.cfg"),
    ("nemo", "srun ./nemo.exe"),
    ("cosmo", "aprun -n 256 lmparbin_all"),
    ("seissol", "srun SeisSol_Release_dhsw_4_elastic parameters.par"),
    ("gadget", "mpiexec ./Gadget4 param.txt"),
    ("picongpu", "srun picongpu -d 2 2 1 -g 256 256 128 -s 1000"),
    ("smilei", "srun ./smilei input.py"),
    ("openmc", "openmc -s 32"),
    ("hmmer", "hmmsearch --cpu 8 Pfam-A.hmm proteins.fa"),
    ("gatk", "gatk HaplotypeCaller -R ref.fa -I in.bam"),
    ("gatk", "java -Xmx8g -jar /opt/gatk/GenomeAnalysisTK.jar -T HaplotypeCaller"),
    ("spades", "spades.py -1 a.fq -2 b.fq -o out"),
    ("freesurfer", "recon-all -s bert -all"),
    ("nest", "python -c 'import nest; nest.Simulate(1000)'"),
    ("spark", "spark-submit --master local job.py"),
    ("paraview", "mpirun pvbatch render.py"),
    ("octave", "octave --eval 'run(1)'"),
    ("gurobi", "gurobi_cl Threads=16 model.lp"),
    ("java", "java -jar mysim.jar"),
    ("jupyter", "jupyter lab --no-browser --port=8888"),
    ("hpcg", "srun ./xhpcg"),
    ("fio", "fio job.fio"),
    ("code-server", "code-server --bind-addr 127.0.0.1:8080"),
]
# the same, written in other ways
WRAPPED = [
    ("lammps", "#SBATCH -J run\nsrun -n 4 -c 2 -t 10:00 --mem 4G lmp -in x"),
    ("vasp", "EXE=/opt/vasp/6.4/bin/vasp_std\nmpirun -np 4 $EXE"),
    ("vasp", 'VASP="vasp_std"\nMPI="mpirun -np 16"\n$MPI $VASP'),
    ("gromacs", "GMX=$(which gmx_mpi)\nsrun $GMX mdrun"),
    ("gromacs", "export GMX=${GMX:-gmx_mpi}\n$GMX mdrun"),
    ("cp2k", 'CP2K="$CP2K_ROOT/exe/cp2k.psmp"\nsrun "$CP2K" -i a.inp'),
    ("gromacs", "time srun \\\n  --ntasks 4 \\\n  gmx_mpi \\\n  mdrun"),
    ("namd", "nohup numactl --interleave=all namd2 +p8 x.conf &\nwait"),
    ("hpl", "likwid-perfctr -C 0-71 -g MEM_DP ./xhpl"),
    ("lammps", "timeout 10m lmp -in x || echo late"),
    ("gromacs", "if command -v gmx >/dev/null; then\n  gmx mdrun\nfi"),
    ("lammps", 'for i in 1 2 3; do\n  lmp -in "in.$i"\ndone'),
    ("gromacs", "while read f; do gmx mdrun -s $f; done < list"),
    ("gromacs", "run() {\n  gmx mdrun\n}\nrun"),
    ("gromacs", "case $1 in\n  vasp) echo no;;\n  *) gmx mdrun;;\nesac"),
    ("lammps", "case $1 in a) lmp -in a;; esac"),
    ("gromacs", 'bash -c "gmx mdrun -s x"'),
    ("gromacs", "srun bash -lc 'module load x; gmx mdrun'"),
    ("gromacs", "bash <<EOF\ngmx mdrun\nEOF"),
    ("gromacs", 'eval "gmx mdrun"'),
    ("gromacs", "env OMP_NUM_THREADS=4 gmx mdrun"),
    ("gromacs", "OMP_NUM_THREADS=4 GMX_GPU=1 gmx mdrun"),
    ("quantum-espresso wrf", "mpirun -np 4 pw.x : -np 2 wrf.exe"),
    ("gromacs", "singularity exec --nv -B /data:/data img.sif gmx mdrun"),
    ("gromacs", "apptainer run --nv gromacs_2023.sif mdrun"),
    ("pytorch", "singularity exec --nv pytorch_23.10-py3.sif python train.py"),
    ("tensorflow", "srun --container-image=nvcr.io#nvidia/tensorflow:23.05-tf2-py3 python train.py"),
    ("lammps", "apptainer run docker://lammps/lammps:latest -in in.lj"),
    ("gromacs", "podman run --rm -v $PWD:/w docker.io/gromacs/gromacs:2023 gmx mdrun"),
    ("pytorch", "module load PyTorch/2.1.2-foss-2023a-CUDA-12.1.1\npython train.py"),
    ("pytorch", "ml PyTorch/2.1\nsrun python main.py"),
    ("tensorflow", "conda activate tensorflow-gpu\npython train.py"),
    ("gromacs", "module load chem/gromacs/2022.3\nsrun $GMXBIN mdrun"),
    ("vasp", "module load VASP/6.4.2-intel\nsrun $EXE"),
    ("openfoam", "spack load openfoam@2212\nsrun ./mySolver -parallel"),
    ("vasp", "module load vasp python\npython prepare.py\nsrun $VASP_EXE"),
    ("gromacs", "source /opt/gromacs/bin/GMXRC\n./run_all"),
    ("gromacs", "pushd work; ( gmx mdrun ) ; popd"),
    ("gromacs", "{ gmx mdrun; } 2>&1 | tee log"),
    ("gromacs", "! gmx mdrun && exit 1"),
    ("gromacs", "gmx mdrun&"),
    ("gromacs", "cd /x&&gmx mdrun;echo done"),
    ("gromacs", "RESULT=`gmx energy -f ener.edr`"),
    ("gromacs", 'echo "energy: $(gmx energy -f ener.edr)"'),
    ("lammps", "perf stat -e cycles srun lmp -in x"),
    ("lammps", "nsys profile -o rep -t cuda lmp -k on -in x"),
    ("lammps", "valgrind --tool=memcheck lmp -in x"),
    ("lammps", "srun --export=ALL,A=1 --gres gpu:4 lmp -in x"),
    ("lammps", "mpirun --mca btl self,vader --bind-to core -x PATH lmp -in x"),
    ("lammps", "mpiexec.hydra -genv I_MPI_DEBUG 5 -n 4 -ppn 2 lmp -in x"),
    ("blast", "parallel -j 8 blastp -query {} -db nr ::: *.fa"),
    ("minimap2", "ls *.fq | xargs -n 1 -P 4 minimap2 ref.fa"),
    ("lammps", "jsrun -n 6 -a 1 -c 7 -g 1 lmp -in x"),
    ("gromacs", "GMX MDRUN -s x"),
    ("vasp", "#!/bin/tcsh\nset EXE = vasp_std\nsrun $EXE"),
    ("vasp", "#!/bin/csh\nsetenv EXE vasp_std\nmpirun $EXE"),
    ("pytorch", "#!/usr/bin/env python3\nimport os\nimport torch\n"),
    ("python", "#!/usr/bin/python3\nprint('gmx mdrun')\n"),
    ("r", "#!/usr/bin/Rscript\nx <- 1\n"),
    ("julia", "#!/usr/bin/env -S julia -t 4\nprintln(1)\n"),
    ("python", "source venv/bin/activate\n./train.py"),
    ("pytorch", "micromamba run -n env torchrun train.py"),
    ("python", "uv run python main.py"),
    ("gromacs", 'srun "$(dirname $0)"/bin/gmx mdrun'),
    ("lammps", "progs=(gmx vasp_std)\nlmp -in x"),
    ("lammps", "((n = n + 1))\nlmp -in x.$n"),
    ("lammps", "for ((i=0; i<3; i++)); do lmp -in $i; done"),
    ("lammps", "[[ -f gmx && vasp_std == a ]] && lmp -in x"),
    ("lammps", "cat > in.x <<EOF\ngmx mdrun\nEOF\nlmp -in in.x"),
    ("lammps", "cat <<A <<B\ngmx\nA\nvasp_std\nB\nlmp -in x"),
    ("lammps", "cat <<-EOF\n\tgmx mdrun\n\tEOF\nlmp -in x"),
    ("gromacs", "gmx mdrun\r\n"),
    ("gromacs pytorch", "gmx mdrun\npython -c 'import torch'"),
    ("gromacs", "gmx mdrun\npython plot.py"),
    ("gromacs", "flux run -n 4 gmx_mpi mdrun"),
    ("gromacs", "taskset 0xff gmx mdrun"),
]
# nothing is known to run, whatever is named
NOTHING = [
    ("", ""),
    ("", "./a.out"),
    ("", "# gmx mdrun\n./a.out"),
    ("", "#SBATCH --job-name=lammps\n#SBATCH --comment=vasp_std\n./a.out"),
    ("", "  # srun vasp_std\n./a.out # gmx mdrun"),
    ("", "echo gmx mdrun"),
    ("", "echo 'run gmx mdrun; lmp -in x'"),
    ("", 'echo "Running on $(hostname) with gmx"'),
    ("", "printf 'vasp_std\\n'"),
    ("", "/home/python/run.sh"),
    ("", "cd /scratch/lammps/gmx && ./a.out"),
    ("", "./a.out /data/vasp/gmx input.lmp"),
    ("", "./a.out --engine gmx lmp"),
    ("", "cat > job.in <<EOF\nlmp -in x\nsrun vasp_std\nEOF\n./a.out"),
    ("", "cat <<'GMX'\ngmx mdrun\nGMX"),
    ("", "cat <<EOF\ngmx mdrun\nnever closed"),
    ("", "which gmx\ncommand -v lmp\ntype vasp_std"),
    ("", "module load GCC OpenMPI FFTW\n./solver"),
    ("", "module unload gromacs\n./a.out"),
    ("", "module avail lammps\nmodule purge\n./a.out"),
    ("", "cp -r /sw/lammps/gmx .\nmkdir -p python"),
    ("", "rm -f gmx lmp vasp_std"),
    ("", "export GMX=gmx\nLMP=lmp\n./a.out"),
    ("", "[ -x gmx ] && ./a.out"),
    ("", "[[ $X == gmx || $Y == lmp ]]\n./a.out"),
    ("", "case $x in\n  gmx|lmp) ./a.out;;\nesac"),
    ("", "for p in gmx lmp vasp_std; do echo $p; done"),
    ("", "progs=(gmx lmp)\n./a.out"),
    ("", "function gmx { ./a.out; }"),
    ("", "lmp() { ./a.out; }"),
    ("", "./a.out > gmx 2> lmp < vasp_std"),
    ("", "scp gmx host:/x\nrsync -a lmp host:"),
    ("", "sbatch lmp.sh\nsrun --pty bash"),
    ("", "ls python* | wc -l"),
    ("", "tar xf gromacs-2023.tar.gz\ncd gromacs-2023"),
    ("", "make lmp\ncmake --build gmx"),
    ("", "grep -r gmx . | sort"),
    ("", "./gmx.sh\n./vasp_plot.gp\n./lmp_in.txt"),
    ("", "./mypython\n./notlmp\n./xvasp_std"),
    ("", "awk '{ gmx = 1; print lmp }' file"),
    ("", "sed -e 's/gmx/lmp/' file"),
    ("", "trap 'gmx mdrun' EXIT"),
    ("", "sleep 60; hostname; date"),
    ("", "srun hostname"),
    ("", "bash run_python.sh"),
    ("", "ssh node1 uptime"),
    ("", "echo `echo gmx`"),
    ("", "x='gmx mdrun\nlmp -in x\n'\n./a.out"),
    ("", 'x="\ngmx mdrun\n"\n./a.out'),
    ("", "./a.out \\\n  gmx \\\n  lmp"),
    ("", "'\n\"unclosed `quotes $( everywhere"),
    ("", ")))) }}}} ;;;; esac done fi"),
    ("", "case x in"),
]  # fmt: skip
CORPUS = PLAIN + WRAPPED + NOTHING


@pytest.fixture(scope="module")
def known() -> ApplicationList:
    return ApplicationList.of(shipped_applications())


def tags(script: str, known: ApplicationList, **more: str) -> tuple[str, ...]:
    return detect_applications({"jobScript": script, **more}, known)


@pytest.mark.parametrize(("expected", "script"), CORPUS)
def test_a_script_has_the_applications_that_it_runs(expected: str, script: str, known: ApplicationList) -> None:
    found = tags(script if script.startswith("#!") else BASH + script + "\n", known)
    assert found == tuple(expected.split())


def test_over_all_scripts_precision_and_recall_are_those_of_the_manual(known: ApplicationList) -> None:
    hits = wrong = missed = 0
    for expected, script in CORPUS:
        wanted, found = set(expected.split()), set(tags(script if script.startswith("#!") else BASH + script, known))
        hits += len(wanted & found)
        wrong += len(found - wanted)
        missed += len(wanted - found)
    assert len(CORPUS) >= 200
    assert (hits, wrong, missed) == (HITS, 0, 0)


HITS = 171


def test_the_name_of_a_job_counts_only_if_the_script_says_nothing(known: ApplicationList) -> None:
    assert detect_applications({"jobName": "lammps_test_3"}, known) == ("lammps",)
    assert tags("./a.out", known, jobName="LAMMPS") == ("lammps",)
    assert tags("gmx mdrun", known, jobName="lammps") == ("gromacs",)
    assert detect_applications({"jobName": "python training run for R and stream"}, known) == ()
    assert detect_applications({"jobName": "gmxx-notlammps"}, known) == ()


def test_the_command_that_slurm_shows_counts_if_there_is_no_script(known: ApplicationList) -> None:
    shown = "JobId=17 JobName=x\n   Command=/opt/vasp/bin/vasp_std\n   WorkDir=/home/lammps\n"
    assert detect_applications({"slurmInfo": shown}, known) == ("vasp",)
    assert detect_applications({"slurmInfo": shown, "jobScript": "gmx mdrun"}, known) == ("gromacs",)
    assert detect_applications({"slurmInfo": "Command=(null)"}, known) == ()


def test_a_job_without_meta_data_has_no_application(known: ApplicationList) -> None:
    assert detect_applications({}, known) == ()
    assert detect_applications({"jobScript": "", "jobName": "", "slurmInfo": ""}, known) == ()
