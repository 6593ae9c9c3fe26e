"""Many settings: along each parameter of the sampler, and by the amount of training data."""

from __future__ import annotations

from collections.abc import Mapping

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.report import plots
from dftfast.evaluation.report.figures import human_band
from dftfast.evaluation.report.names import OFF, PARAMETERS, checkpoint_of, settings_of
from dftfast.evaluation.super_baseline import Results, least_loss

# shown at once; the others are folded away
PLOTTED = (
    *("mmd", "mmd_unseen", "token_l2_1", "token_l2_2", "c2st", "jsd", "jmq", "called_human"),
    *("style_mmd", "self_bleu", "length_mean", "mtld"),
)
TITLES = {"temperature": "temperature", "top_p": "top-p", "top_k": "top-k"}


def series_along(
    parameter: str, systems: Results, samplers: Mapping[str, Mapping[str, float]]
) -> dict[str, list[str]]:
    """Systems that differ in nothing but this parameter of the sampler, by what they share.

    A series has at least two systems. There are at most as many series as colours: those with the
    lowest MMD.
    """
    series: dict[str, dict[float, str]] = {}
    for name in systems:
        sampler = samplers[name]
        if parameter in sampler:
            rest = {
                key: sampler[key]
                for key in PARAMETERS
                if key in sampler and key != parameter and sampler[key] != OFF.get(key)
            }
            label = " ".join(
                [
                    checkpoint_of(name) or "samples",
                    *(f"{PARAMETERS[k]}={v:g}" for k, v in rest.items()),
                ]
            )
            series.setdefault(label, {})[sampler[parameter]] = name
    several = {label: list(names.values()) for label, names in series.items() if len(names) > 1}
    mmd = lambda names: min(
        (f.value for n in names if (f := systems[n].get("mmd", Estimate())).value is not None),
        default=0,
    )
    best = sorted(several, key=lambda label: mmd(several[label]))[: plots.SERIES]
    return {label: names for label, names in several.items() if label in best}


def sweep_plots(
    results: Results, baselines: Results, samplers, candidate: str | None
) -> list[dict]:
    """For each parameter that was swept: title, names of the series, a plot for each metric.

    The candidate is a dotted line.
    """
    out = []
    for parameter in PARAMETERS:
        series = series_along(parameter, baselines, samplers)
        every = sorted(
            {samplers[n][parameter] for names in series.values() for n in names},
            key=lambda v: (v == 0 and parameter == "top_k", v),
        )
        if parameter == "top_k":  # off keeps every token: it comes last
            place, ticks = (
                {v: k for k, v in enumerate(every)},
                {k: f"{v:g}" if v else "off" for k, v in enumerate(every)},
            )
        else:
            place, ticks = {v: v for v in every}, None
        drawn = []
        for metric in [*PLOTTED, *(m for m in METRICS if m not in PLOTTED)]:
            data = {
                label: [
                    (place[samplers[n][parameter]], f.value, f.low, f.high)
                    for n in names
                    if (f := results[n].get(metric, Estimate())).value is not None
                ]
                for label, names in series.items()
            }
            data = {label: points for label, points in data.items() if points}
            if data:
                drawn.append(
                    {
                        "metric": metric,
                        "main": metric in PLOTTED,
                        "svg": _plot(metric, data, TITLES[parameter], ticks, results, candidate),
                    }
                )
        if drawn:
            out.append({"title": TITLES[parameter], "legend": list(series), "plots": drawn})
    return out


def _plot(metric: str, data: dict, x_title: str, ticks, results: Results, candidate: str | None):
    m = METRICS[metric]
    ours = results[candidate].get(metric, Estimate()) if candidate else Estimate()
    human = next(
        (
            f
            for estimates in results.values()
            if (f := estimates.get(metric, Estimate())).human is not None
        ),
        Estimate(),
    )
    level = (ours.value, candidate) if candidate and ours.value is not None else None
    form = (lambda v: f"{100 * v:.0f}%") if m.percent else (lambda v: f"{v:.4g}".replace("-", "−"))
    return plots.lines(
        data,
        x_title=x_title,
        x_ticks=ticks,
        level=level,
        format=form,
        band=human_band(human),
        title=m.title,
    )


def data_effect(baselines: Results, metrics: tuple[str, ...]) -> dict | None:
    """Best value of each metric over all settings trained on the same share of the data.

    None where there is only one share.
    """
    shares: dict[float, list[str]] = {}
    for name in baselines:
        if (share := settings_of(name).get("data")) is not None:
            shares.setdefault(share, []).append(name)
    if len(shares) < 2:
        return None
    rows = []
    for share, names in sorted(shares.items()):
        best = {}
        for metric in metrics:
            least = least_loss(metric, {n: baselines[n].get(metric, Estimate()) for n in names})
            best[metric] = least[1] if least else None
        rows.append({"share": share, "settings": len(names), "best": best})
    return {"metrics": [m for m in metrics if any(row["best"][m] for row in rows)], "rows": rows}
