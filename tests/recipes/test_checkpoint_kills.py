"""Whenever a training is killed and whatever the disk does, a checkpoint is left."""

import subprocess
import sys
import textwrap
from pathlib import Path


def script(code: str) -> str:
    head = """
        import os, random, resource, signal, sys, time
        import torch
        from pathlib import Path
        from recipes._training.checkpoint import Checkpoints
        torch.set_num_threads(1)

        def saved(run, step):
            value = torch.full((300, 300), float(step))
            run.save(step, {"weight": value}, {"momentum": [value, step]})

        def check(folder, least):
            loaded = Checkpoints(folder, {}).load()
            step = loaded.step if loaded else 0
            assert step >= least, (step, least)
            if loaded:
                momentum, number = loaded.state["momentum"]
                assert number == step
                assert (momentum == step).all() and (loaded.weights["weight"] == step).all()
            return step
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(head) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kill_at_a_random_moment_leaves_a_checkpoint(tmp_path: Path) -> None:
    out = script(f"""
        folder, chance, least = Path({str(tmp_path / "run")!r}), random.Random(0), 0
        for kill in range(40):
            begun, tell = os.pipe()
            child = os.fork()
            if not child:
                run = Checkpoints(folder, {{}})
                loaded = run.load()
                step = loaded.step if loaded else 0
                while True:
                    step += 1
                    saved(run, step)
                    os.write(tell, b".")
            os.read(begun, 1)
            time.sleep(chance.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            least = check(folder, least + 1)
            os.close(begun), os.close(tell)
        saved(Checkpoints(folder, {{}}), least + 1)
        print(least, len(list(folder.iterdir())))
    """)
    steps, files = map(int, out.split())
    assert steps >= 40
    assert files == 4


def test_a_kill_at_each_single_operation_leaves_a_checkpoint(tmp_path: Path) -> None:
    out = script(f"""
        def dying(at):
            done = 0
            def hook(event, args):
                nonlocal done
                if event in ("open", "os.rename", "os.remove", "os.listdir", "os.chmod"):
                    done += 1
                    if done == at:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(hook)

        folder = Path({str(tmp_path)!r})
        for at in range(1, 1000):
            inside = folder / str(at)
            run = Checkpoints(inside, {{}})
            for step in (1, 2, 3):
                saved(run, step)
            child = os.fork()
            if not child:
                dying(at)
                saved(run, 4)
                os._exit(0)
            killed = os.waitpid(child, 0)[1]
            step = check(inside, 3)
            assert killed or step == 4
            saved(Checkpoints(inside, {{}}), 5)
            assert check(inside, 5) and len(list(inside.iterdir())) == 4
            if not killed:
                break
        print(at)
    """)
    assert 8 < int(out) < 999


def test_a_full_disk_keeps_the_checkpoints_there_are(tmp_path: Path) -> None:
    out = script(f"""
        folder = Path({str(tmp_path / "run")!r})
        run = Checkpoints(folder, {{}})
        saved(run, 1)
        saved(run, 2)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (4096, 361000):  # too little for the weights; enough for them, not the state
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, 400_000))
            try:
                saved(run, 3)
            except OSError as error:
                print(error)
            check(folder, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        saved(run, 4)
        check(folder, 4)
        print(sorted(path.name for path in folder.iterdir()))
    """)
    first, second, left = out.strip().splitlines()
    assert "000003.safetensors could not be written (File too large)" in first
    assert "000003.pt could not be written (File too large)" in second
    assert left == str([f"00000{n}.{suffix}" for n in (2, 3) for suffix in ("pt", "safetensors")])
