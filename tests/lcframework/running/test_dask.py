"""The executor ``dask``: what goes to workers, and what happens where they are killed, absent, or a batch system's."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from lcframework.executors.clusters import ClusterOptions, batch_cluster
from lcframework.executors.dask import DaskExecutor

pytest.importorskip("distributed")


def test_dask(toys):
    toys.write("size = 6", 'executor = "dask"\nworkers = 2')
    toys.plan(u1="unusable", u3="bug")
    report = toys.run()
    assert [u.unit for u in report.unusable] == ["unit 1"]
    assert [b.unit for b in report.bugs] == ["unit 3"]
    assert str(os.getpid()) not in toys.workers()
    toys.plan()
    assert toys.done()["toy"] == 1


@pytest.mark.slow
def test_dask_worker_that_is_killed_again_and_again(toys, monkeypatch):
    monkeypatch.setattr("lcframework.executors.dask.PATIENCE", 5.0)
    toys.write("size = 3", 'executor = "dask"\nworkers = 1')
    toys.plan(u1="always-kill")
    report = toys.run()
    assert report.exit_code == 1
    assert "Dask gave up during toy: " in report.message
    toys.plan()
    assert toys.run().exit_code == 0
    assert (toys.folder / "sum").read_text() == "5"


def test_fits_go_to_workers_in_batches_for_each(toys):
    """One batch of sixteen would leave the second worker idle."""
    toys.write("size = 6\nfit = true", 'executor = "dask"\nworkers = 2\ndevice = "cpu"')
    assert toys.done()["toy"] == 6
    used = toys.workers()
    assert str(os.getpid()) not in used
    assert len(used) == 2
    assert (toys.folder / "sum").read_text() == "55"


def test_fits_stay_in_the_driver_where_it_has_the_accelerator_of_local_workers(toys, monkeypatch):
    monkeypatch.setattr("lcframework.executors.dask._has_accelerator", lambda: True)
    toys.write("size = 3\nfit = true", 'executor = "dask"\nworkers = 2')
    assert toys.done()["toy"] == 3
    assert toys.workers() == {str(os.getpid())}


def test_absent_workers_end_the_run_with_a_message(toys):
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster:
        address = cluster.scheduler_address
        toys.write("size = 3", f'executor = "dask"\n[run.dask]\ncluster = "{address}"\npatience = 1.0')
        report = toys.run()
    assert report.exit_code == 1
    assert "no Dask worker has been there for 1 s ([run.dask] patience)" in report.message


def test_workers_that_do_not_see_the_workdir(toys, monkeypatch):
    monkeypatch.setattr("lcframework.executors.dask._sees", lambda path: False)
    toys.write("size = 3", 'executor = "dask"\nworkers = 1')
    report = toys.run()
    assert report.exit_code == 1
    assert "do not see the workdir" in report.message
    assert not list(toys.folder.glob(".seen*"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('cluster = "cloud"', 'cluster must be "local", a batch system (slurm, pbs, moab, sge, lsf, oar)'),
        ("cors = 4", 'has no option "cors"; did you mean "cores"?'),
        ("workers = 3", "give the number of workers in [run]"),
        ("patience = 0", "patience must be positive"),
    ],
)
def test_options_are_checked_though_another_executor_works(toys, table, words):
    toys.write(run=f'executor = "local"\n[run.dask]\n{table}')
    with pytest.raises(Exception, match=r".*") as error:
        toys.run()
    assert words in str(error.value)


SLURM = ClusterOptions(
    workers=8, cluster="slurm", cores=4, memory="16GB", walltime="02:30:00", queue="short", account="stars",
    directives=["--constraint=fast"], prologue=["module load python"], interface="lo",
)  # fmt: skip


def test_script_for_slurm_asks_for_what_the_project_says(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(_slurm(tmp_path, submits=False)), prepend=os.pathsep)
    with batch_cluster(SLURM) as cluster:
        lines = cluster.job_script().splitlines()
        assert {"#SBATCH -p short", "#SBATCH -A stars", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G",
                "#SBATCH -t 02:30:00", "#SBATCH --constraint=fast", "module load python"} <= set(lines)  # fmt: skip
        assert "--nthreads 1 --memory-limit 3.73GiB --nworkers 4" in lines[-1]


def test_job_with_a_gpu_has_one_worker_that_owns_it():
    jobqueue = pytest.importorskip("dask_jobqueue")
    from lcframework.executors.clusters import job

    options = ClusterOptions(cluster="slurm", cores=8, memory="32GB", gpu=True)
    script = jobqueue.SLURMCluster.job_cls(scheduler="tcp://a:1", **{
        k: v for k, v in job(options).items() if k != "scheduler_options"
    }).job_script()  # fmt: skip
    assert "#SBATCH --gpus=1" in script
    assert "--resources GPU=1 --nthreads 1" in script
    assert "--nworkers" not in script


def test_workers_with_a_gpu_alone_get_fits():
    executor = DaskExecutor(2)
    executor._client = type("Client", (), {"scheduler_info": staticmethod(lambda n_workers: {"workers": {
        "tcp://a": {"resources": {"GPU": 1}}, "tcp://b": {"resources": {}},
    }})})()  # fmt: skip
    fit, other = type("Fit", (), {"accelerator": True})(), type("Other", (), {"accelerator": False})()
    assert executor._workers_for(fit) == ["tcp://a"]
    assert executor._needs(fit) == {"resources": {"GPU": 1}}
    assert executor._workers_for(other) == ["tcp://a", "tcp://b"]
    assert executor._needs(other) == {}


@pytest.mark.slow
def test_jobs_of_slurm_do_the_work(toys, tmp_path, monkeypatch):
    """A stand-in for ``sbatch`` runs each script at once, as the batch system would."""
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(_slurm(tmp_path, submits=True)), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    toys.write(
        "size = 8\nfit = true", 'executor = "dask"\nworkers = 2\n[run.dask]\ncluster = "slurm"\ninterface = "lo"'
    )
    assert toys.done()["toy"] == 8
    assert str(os.getpid()) not in toys.workers()
    assert len((tmp_path / "submitted").read_text().split()) == 2


def _slurm(folder, submits):
    """Return a folder with the commands of a batch system; those that submit run the script in the background."""
    commands = folder / "bin"
    commands.mkdir()
    here = os.path.dirname(sys.executable)
    copy = f'cp "$1" "{folder}/script.$$"'  # Dask deletes its own
    run = f'PATH={here}:$PATH setsid bash "{folder}/script.$$" >"{folder}/job.$$" 2>&1 </dev/null &'
    start = f"{copy}\n{run}" if submits else ":"
    texts = {
        "sbatch": f'#!/bin/bash\necho $$ >>"{folder}/submitted"\n{start}\necho "Submitted batch job $$"\n',
        "scancel": f'#!/bin/bash\nfor p in $(pgrep -f "{folder}/script.$1"); do kill -- -$p; done\n',
    }
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    return commands
