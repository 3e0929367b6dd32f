"""The message that a shown image is published in.

Knows images and messages; no sockets, no counts but those it is given. Invariant: the figures of a message are those
of the image in it, held or new; only time of publication, state, reason and counts are of the moment.
"""

from __future__ import annotations

from usert.quality import readable_mean

from ..imaging.image_quality import ImageQualityRule
from ..protocol.age import clock_id
from ..protocol.rf_message import FrameStamp
from ..protocol.strain_message import Counters, StrainMessage
from .stream import Shown


def strain_message(
    shown: Shown, *, counters: Counters, published_ns: int, rule: ImageQualityRule, deadline_ms: float
) -> StrainMessage:
    """As it leaves at `published_ns`."""
    image, of, image_quality = shown.image, shown.image.of, shown.image.image_quality
    current = of.current
    frame = current.frame
    rate = of.strain_rate
    mean_strain = of.mean_strain
    if image.averaging is not None:
        averaged, share = readable_mean(image.strain, of.estimate.quality, rule.readable_quality)
        mean_strain = averaged if share else 0.0
    return StrainMessage(
        stream=current.stream,
        session=current.session,
        reference=FrameStamp.of(of.reference.frame),
        current=FrameStamp.of(frame),
        source_clock=current.clock,
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
        score=image_quality.score,
        readable_strain=image_quality.mean_strain,
        compression=image_quality.compression,
        readable_quality=rule.readable_quality,
        readable_share=image_quality.readable_share,
        evident_strain=image_quality.evident_strain,
        precompression=image.precompression,
        strain_rate=None if rate is None else image_quality.mean_strain * rate,
        deadline_ms=deadline_ms,
        reason=shown.reason,
        warnings=image_quality.warnings,
        persistence=image.averaging,
        ratio=image.ratio,
        displacement=of.estimate.displacement,
        strain=image.strain,
        quality=of.estimate.quality,
    )
