"""The most memory that some work holds at once, as torch's profiler counts it."""

import gc
from collections.abc import Callable, Iterator, Sequence

from torch._C._profiler import _EventType, _ProfilerEvent
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object]) -> int:
    """Bytes of tensors on the CPU beyond those from before.

    What is given back counts by where it lay, and only if the work took it. The profiler remembers blocks of earlier
    profiles, also some that were given back between two profiles: it would count what lies in their place now.
    """
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = list(each_of(profiler.profiler.kineto_results.experimental_event_tree()))
    taken: dict[int, int] = {}
    held = peak = 0
    for event in sorted(events, key=lambda each: each.start_time_ns):
        block = event.extra_fields
        if block.alloc_size > 0:
            taken[block.ptr] = block.alloc_size
            held += block.alloc_size
        else:
            held -= taken.pop(block.ptr, 0)
        peak = max(peak, held)
    return peak


def each_of(events: Sequence[_ProfilerEvent]) -> Iterator[_ProfilerEvent]:
    """Those among them, and among what happened during them, in which memory was taken or given back."""
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from each_of(event.children)
