"""Traffic-camera scenes rendered on the fly: any number of labelled images from a seed, without a file.

From a scene's number to its picture: `layout` composes it (`conditions`, `roads`, `casting`), `actors` and `raster`
decide what is visible and make the labels, `ground` and `bodies` paint it on a `canvas`, `sensor` photographs it.
"""

from __future__ import annotations

from detq.datasets.synthetic.camera_set import TrafficCamera, parse_synthetic, traffic_camera
from detq.datasets.synthetic.seeds import SEEDS

__all__ = ["SEEDS", "TrafficCamera", "parse_synthetic", "traffic_camera"]
