"""Log-probabilities of given targets against CTranslate2's `score_batch`."""
