"""usert: real-time strain from live ultrasound.

The core that every stage speaks; importing it loads neither torch nor onnxruntime.
"""

__version__ = "0.1.0"
