"""Move the stored results into tables: python convert_all.py OLD_RESULTS NEW_RESULTS CONVERTERS.

OLD_RESULTS must lie in a git checkout whose history tells when each file entered it. Then every stored
number and array is looked for in the tables, bit for bit.
"""
import importlib.util, json, subprocess, sys, hashlib, shutil
from pathlib import Path
import numpy as np, pandas as pd, safetensors.numpy
sys.path.insert(0, str(Path.cwd() / "book"))
from experiments import runs, tables

old, new, converters = map(Path, sys.argv[1:4])
only = sys.argv[4:]
git = ["git", "-C", str(old)]
log = subprocess.run([*git, "log", "--reverse", "--raw", "--no-abbrev", "--no-renames", "--format=@%H", "--", "results"], capture_output=True, text=True, check=True).stdout
first = {}
for line in log.splitlines():
    if line.startswith("@"): commit = line[1:]
    elif line.startswith(":"):
        blob = line.split()[3]
        first.setdefault(blob, (len(first), commit))
order = {c: i for i, c in enumerate(subprocess.run([*git, "rev-list", "--reverse", "HEAD"], capture_output=True, text=True).stdout.split())}
def entered(folder, record):
    commits = []
    for name in record["files"]:
        content = (folder / name).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        commits.append(first[blob][1])
    return max(commits, key=order.get)
total = 0
for path in sorted(converters.glob("*.py")):
    if only and path.stem not in only: continue
    spec = importlib.util.spec_from_file_location(path.stem + "_converter", path)
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    experiment = runs.load(path.stem)
    pairs = getattr(module, "CONVERTERS", None) or [(module.OLD, module.convert)]
    store = runs.Runs("paper", new)
    folder = store.folder(experiment)
    (folder / ".spool").mkdir(parents=True, exist_ok=True)
    names = {}
    olds = []
    spooled = []
    for name, convert in pairs:
        for rec in sorted((old / "results/paper" / name).glob("*/record.json")):
            record = json.loads(rec.read_text())
            frames = {f.stem: pd.read_csv(f) for f in rec.parent.glob("*.csv")}
            a = rec.parent / "arrays.safetensors"
            arrays = safetensors.numpy.load_file(a) if a.exists() else {}
            out = convert(record["config"], record["values"], frames, arrays)
            for config, result in (out if isinstance(out, list) else [out]):
                tables.check(config)
                run = tables.run_name(config)
                assert run not in names, f"{run} twice: {names.get(run)} and {rec}"
                names[run] = rec
                for n, kind in experiment.values.items():
                    result.values[n] = tables.parse(tables.show(kind(result.values[n])), kind, n)
                v = record["versions"]
                env = {"python": v["python"], **{p: v.get(p, "not recorded") for p in __import__("experiments.provenance").provenance.PACKAGES}, "processor": record["processor"], "system": record["system"]}
                row = {"revision": experiment.revision, "computed": record["computed"], "seconds": float(record["wall_seconds"]), "cpu_seconds": float(record["cpu_seconds"]), "commit": entered(rec.parent, record), "environment": env, "device": "not recorded"}
                runs._spool(experiment, folder, config, result, row)
                olds.append((run, rec, frames, arrays, record))
    store._merge(experiment)
    # the check, from the old files and the new store alone
    found = runs.Runs("paper", new).all(experiment)
    assert set(found.names) == set(names), (len(found.names), len(names))
    n = 0
    by_table = {t: dict(list(found._frames[t].groupby("run", sort=False))) for t in experiment.tables}
    for run, rec, frames, arrays, record in olds:
        news = {t: by_table[t].get(run) for t in experiment.tables}
        for t, frame in frames.items():
            for c in frame:
                want = frame[c].to_numpy()
                ok = False
                for g in news.values():
                    if g is None: continue
                    for d in g:
                        have = g[d].to_numpy()
                        if len(have) != len(want): continue
                        if want.dtype == object or have.dtype == object:
                            same = [str(x) for x in want] == [str(x) for x in have]
                        else:
                            same = np.array_equal(want.astype(float), have.astype(float), equal_nan=True)
                        ok = ok or same
                assert ok, f"{rec}: {t}.{c} is not in {run}"
                n += len(want)
        kept = dict(found._arrays[run])
        row = found.runs[found.runs.run == run].iloc[0]
        about = {}
        if row.weights_sha256:
            w, about = found.weights(run); kept |= {f"weights/{k}": x for k, x in w.items()} | w
        for k, x in arrays.items():
            ok = any(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for y in kept.values())
            assert ok, f"{rec}: array {k} is not in {run}"
            n += x.size
        for k, x in record["values"].items():
            ok = any(x == y for y in row.tolist()) or x == about or (isinstance(x, dict) and not about and all(any((isinstance(c, tuple) and list(c) == v) if isinstance(v, list) else (not isinstance(c, tuple) and v == c) for c in row.tolist()) for v in x.values())) or (isinstance(x, dict) and x.items() <= about.items()) or x in about.values() or (isinstance(x, dict) and all(any(v == w for w in about.values()) for v in x.values()))
            assert ok, f"{rec}: value {k} is not in {run}"
            n += 1
    total += n
    print(f"{experiment.name}: {len(olds)} runs, {n:,} numbers and words are in the tables, bit for bit")
print(f"in all {total:,}")
