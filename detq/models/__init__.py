"""Detectors: the list of them (`zoo`), their construction (`build`) and their weights (`weights`)."""
