"""A simulated scanner whose displacement is exactly known.

    field.py       the motion: how far each point of the tissue moves
    inclusion.py   the elastic field round a stiff or soft disc, in closed form
    fem.py         the same by finite elements, for shapes without a formula
    scatterers.py  the tissue: point scatterers
    beam.py        the image that a band-limited beam makes of them
    scanner.py     all of it in time: free-hand palpation as a stream of RF frames

The model is stated once for numpy and torch (array API), so that the demo runs without torch and the training
generator runs where the network does.
"""
