"""The message that a shown image is published in.

Knows images and messages; no sockets, no counts but those it is given. Invariant: the figures of a message are those
of the image in it, held or new; only time of publication, state, reason and counts are of the moment.
"""

from __future__ import annotations

from usert.quality import readable_mean

from ..imaging.image_quality import JudgementRule
from ..protocol.age import clock_id
from ..protocol.messages import StrainMessage
from ..protocol.stamp import Counters, FrameStamp
from .stream import Shown


def strain_message(
    shown: Shown, *, counters: Counters, published_ns: int, rule: JudgementRule, deadline_ms: float
) -> StrainMessage:
    """As it leaves at `published_ns`."""
    image, of, judgement = shown.image, shown.image.of, shown.image.judgement
    current = of.current
    frame = current.message.frame
    rate = of.strain_rate
    mean_strain = of.mean_strain
    if image.averaging is not None:
        averaged, share = readable_mean(image.strain, of.estimate.quality, rule.readable_quality)
        mean_strain = averaged if share else 0.0
    return StrainMessage(
        stream=current.message.stream,
        session=current.session,
        reference=FrameStamp.of(of.reference.message.frame),
        current=FrameStamp.of(frame),
        source_clock=current.message.clock,
        server_clock=clock_id(),
        received_ns=current.received_ns,
        matched_ns=of.matched_ns,
        started_ns=of.started_ns,
        published_ns=published_ns,
        state=shown.state,
        scan=frame.scan,
        counters=counters,
        weights_hash=of.weights_hash,
        mean_strain=mean_strain,
        mean_quality=of.mean_quality,
        score=judgement.score,
        readable_strain=judgement.mean_strain,
        compression=judgement.compression,
        readable_quality=rule.readable_quality,
        readable_share=judgement.readable_share,
        evident_strain=judgement.evident_strain,
        precompression=image.precompression,
        strain_rate=None if rate is None else judgement.mean_strain * rate,
        deadline_ms=deadline_ms,
        reason=shown.reason,
        warnings=judgement.warnings,
        persistence=image.averaging,
        ratio=image.ratio,
        displacement=of.estimate.displacement,
        strain=image.strain,
        quality=of.estimate.quality,
    )
