"""The section on cost: accuracy of each classifier against the floating-point operations of its training."""

from collections.abc import Iterator

from repflow.stages.reporting.charts import Estimate
from repflow.stages.reporting.content import Block, Figure, Figures, Paragraph, Section, Table, percent
from repflow.stages.reporting.cost_chart import cost_chart
from repflow.stages.reporting.results import RunResults, metrics
from repflow.stages.reporting.style import SOURCE, TARGET
from repflow.stages.starting_models import SOURCE_ONLY

UNIT = "TFLOP"
_UNIT = 1e12


def cost_section(run: RunResults) -> Section:
    """Accuracy against floating-point operations. Numbers that depend on the machine are not in the report."""
    work = {name: about["flops"] for name in _trainings(run) if (about := metrics(name)).get("flops")}
    if not work:
        return Section("Training cost", [])
    text = (
        "Compute is counted in floating-point operations (FLOP): matrix products, convolutions and attention of one"
        " real training step, forward and backward, times the number of steps. The total of a model includes the"
        " training that it starts from and the hyperparameter search. Time, memory and energy depend on the machine,"
        " so they are not in this report: `repflow cost` prints them on the machine that trained."
    )
    blocks: list[Block] = [Paragraph(text), Figures(list(_figures(run, work))), _table(run, work)]
    return Section("Training cost", blocks)


def _trainings(run: RunResults) -> list[str]:
    """The metrics names of all trainings, in the order of the pipeline."""
    return ["pretrain", "tune", "finetune", *(f"adapt/{key}" for key in run.adapt)]


def _trainings_of(run: RunResults, model: str) -> list[str]:
    """The trainings that led to the classifier `model`."""
    start = run.models[model].start
    if start == SOURCE_ONLY:
        return [*_trainings_of(run, SOURCE_ONLY), f"adapt/{model}"]
    before = ["pretrain"] if start != "random" else []
    return [*before, "tune", "finetune"] if model == "finetune" else [*before, f"adapt/{model}"]


def _total_compute(run: RunResults, work: dict[str, int], model: str) -> int:
    return sum(work.get(name, 0) for name in _trainings_of(run, model))


def _figures(run: RunResults, work: dict[str, int]) -> Iterator[Figure]:
    for domain in run.evaluation["rows"]:
        shown = [key for key in run.models if run.scores(key, domain) and _total_compute(run, work, key)]
        if not shown:
            continue
        estimates = [
            Estimate(run.models[key].name, own["accuracy"], own["low"], own["high"])
            for key in shown
            if (own := run.scores(key, domain))
        ]
        title = f"Accuracy on the {domain} by training compute"
        colour = SOURCE if domain == "source" else TARGET
        flops = [_total_compute(run, work, key) / _UNIT for key in shown]
        chart = cost_chart(f"cost.{domain}", title, title, estimates, flops, UNIT, colour)
        caption = (
            "Higher is better, further left is cheaper (logarithmic scale). Lines: confidence intervals on the"
            f" {domain} test set."
        )
        yield Figure(chart, caption)


def _table(run: RunResults, work: dict[str, int]) -> Table:
    names = {"pretrain": run.pretrain.name, "tune": "search", "finetune": run.finetune.name}
    names |= {f"adapt/{key}": card.name for key, card in run.adapt.items()}
    domains = list(run.evaluation["rows"])
    rows = []
    for name in _trainings(run):
        model = name.removeprefix("adapt/") if name not in ("pretrain", "tune") else ""
        if name not in work and not (model and _total_compute(run, work, model)):
            continue
        seen = metrics(name).get("images_seen", 0)
        cells = [names[name], f"{seen:,}", _format_compute(work[name]) if name in work else "0"]
        if model:
            cells.append(_format_compute(_total_compute(run, work, model)))
            cells += [percent(own["accuracy"]) if (own := run.scores(model, d)) else "" for d in domains]
        else:
            cells += [""] * (1 + len(domains))
        rows.append(cells)
    header = ["training", "images seen", "compute", "total compute", *(f"{d} accuracy" for d in domains)]
    return Table(
        header,
        rows,
        f"Compute in {UNIT}. Total: including the training that it starts from and the hyperparameter search.",
    )


def _format_compute(flops: int) -> str:
    """FLOP as TFLOP, to three significant digits."""
    amount = flops / _UNIT
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:#.3g}"
