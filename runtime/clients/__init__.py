"""Programs at the ends of a live server: frames to it, its images, the control channel, a status line in a terminal."""
