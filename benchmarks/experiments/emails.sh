#!/usr/bin/env bash
# Emails of at most 70 words: one super-baseline, DFT with three seeds, the bars of the experiment. Started again, it goes on.
#
#   benchmarks/experiments/emails.sh CORPUS OUT [--section.key=value ...]
#
# CORPUS holds train.jsonl and valid.jsonl with the fields `text`, `title`, `genre` and `words`.
set -euo pipefail
here=$(dirname "$0")
corpus=$1 out=$2
shift 2
python "$here/split.py" "$corpus" "$out" --genre email --words 70 --share 0.23
for seed in 0 1 2; do
  run="$out/seed-$seed"
  if [[ ! -e $run && $seed != 0 ]]; then # the same fine-tuned model and the same sweep
    mkdir "$run"
    cp -r "$out/seed-0"/{sft,generations,stages.json} "$run"
    rm -f "$run/generations/dft.jsonl"
  fi
  python -m dftfast.train --config "$here/emails.yaml" --data "$out/train.jsonl" --held-out "$out/held_out.jsonl" \
    --out "$run" --dft.seed="$seed" "$@"
done
python "$here/bars.py" "$out"/seed-*/results.json
