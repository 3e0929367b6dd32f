"""How accurate methods are on recordings, with and without truth: what `usert eval` measures, and its report."""
