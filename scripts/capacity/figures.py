"""The figures of the benchmark that capacity follows from."""

from __future__ import annotations

import statistics

from bench.results import Results, ResultsError
from bench.rows import OURS, TLS
from scripts.capacity.plan import Figures


def figures(results: Results, *, tls: bool) -> Figures:
    """Take them from a run; those that scatter by their median.

    Args:
        results: Of the benchmark.
        tls: Whether the stack's clients use TLS, which costs the servers time.

    Raises:
        ResultsError: The run did not measure something.
    """

    def of(row: str, side: str = OURS) -> float:
        values = results.of(row).get(side)
        if not values:
            raise ResultsError(f"the benchmark of {results.date} has no figure for {row} ({side}): run `make bench`")
        return statistics.median(values)

    return Figures(
        cpu=of("cpu", TLS if tls else OURS) / 1e6,
        cpu_result=of("cpu-result", TLS if tls else OURS) / 1e6,
        message=of("bytes"),
        message_1k=of("bytes-1k"),
        result=of("bytes-result"),
        connections=of("connections"),
        connections_process=of("connections-process"),
    )
