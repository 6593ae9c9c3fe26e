#!/usr/bin/env bash
# Everything that needs a CUDA card, in stages that each fit in ten minutes:
#
#   benchmarks/device.sh OUT [build] [launchers] [compile] [ops] [bench[:op,op...]] [train] [suite]
#
# Without a stage: build launchers ops bench. Reports go to OUT; benchmark figures to OUT/gpu.json with the machine named.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?usage: benchmarks/device.sh OUT [stage ...]}")
shift
mkdir -p "$out"
failed=0

python3 - <<'PY' | tee "$out/machine.json"
import json, platform, torch, triton
p = torch.cuda.get_device_properties(0)
print(json.dumps({"device": p.name, "capability": f"{p.major}.{p.minor}", "memory_gib": round(p.total_memory / 2**30, 1),
                  "processors": p.multi_processor_count, "torch": torch.__version__, "triton": triton.__version__,
                  "python": platform.python_version()}))
PY

run() { # name, command...: output on the screen and in a file, failures counted
  local name=$1
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$out/$name.log" | tail -n 60 || failed=1
}

for stage in "${@:-build launchers ops bench}"; do
  for step in $stage; do
    case $step in
      build) run build python3 -m pip install -q --no-build-isolation --no-deps -e . ;;
      launchers) # every Triton kernel against fp64, on the card
        for case in tests/kernels/triton/cases/[a-z]*.py; do
          [[ $case == */conftest.py ]] && continue
          run "launcher-$(basename "$case" .py)" python3 -m pytest -q -p no:cacheprovider "$case"
        done ;;
      compile) run compile python3 -m pytest -q -p no:cacheprovider tests/kernels/triton/test_compile.py ;;
      ops) # the public ops, which dispatch to the card where a test asks for it
        run ops python3 -m pytest -q -p no:cacheprovider -m "not slow" tests/kernels --ignore tests/kernels/triton ;;
      bench) run bench python3 benchmarks/gpu.py "$out" ;;
      bench:*) IFS=, read -ra ops <<<"${step#bench:}"; run "bench-${ops[*]// /-}" python3 benchmarks/gpu.py "$out/${step/:/-}" "${ops[@]}" ;;
      train) run train python3 benchmarks/gpu_training.py "$out" ;;
      suite) run suite python3 -m pytest -q -p no:cacheprovider -m "not slow" tests ;;
      *) echo "no stage $step" >&2; exit 2 ;;
    esac
  done
done
exit $failed
