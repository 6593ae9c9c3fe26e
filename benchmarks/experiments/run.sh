#!/usr/bin/env bash
# One super-baseline, DFT with three seeds, and what they leave of its distance to human text. Started again, it goes on.
#
#   benchmarks/experiments/run.sh emails CORPUS OUT [--section.key=value ...]
#
# emails: at most 70 words, for two CPU cores. With WORKERS=6 the models, phases and sweeps
# run in so many processes at a time (side_by_side.py), which a small model needs to keep a card busy, and stop after LIMIT seconds.
# CORPUS holds train.jsonl and valid.jsonl with the fields `text`, `title`, `genre` and `words`.
set -euo pipefail
here=$(dirname "$0")
name=$1 corpus=$2 out=$3
shift 3
case $name in
  emails) python "$here/split.py" "$corpus" "$out" --genre email --words 70 --share 0.23 ;;
  *) echo "no experiment $name" >&2; exit 2 ;;
esac
if [[ ${WORKERS:-1} -gt 1 ]]; then
  python "$here/side_by_side.py" "$here/$name.yaml" "$out/train.jsonl" "$out/held_out.jsonl" "$out" \
    --workers "$WORKERS" --seconds "${LIMIT:-inf}" "$@"
fi
for seed in 0 1 2; do
  run="$out/seed-$seed"
  if [[ ! -e $run && $seed != 0 ]]; then # the same fine-tuned models and the same sweep
    mkdir -p "$run/generations"
    cp -r "$out/seed-0"/{sft,stages.json} "$run"
    cp -r "$out/seed-0/generations/sft" "$run/generations"
  fi
  python -m dftfast.train --config "$here/$name.yaml" --data "$out/train.jsonl" --held-out "$out/held_out.jsonl" \
    --out "$run" --dft.seed="$seed" "$@"
done
python "$here/bars.py" "$out"/seed-*/results.json
