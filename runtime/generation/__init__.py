"""How a decoder's logits become sequences: options, filters, searches, and the loop that ties them together."""
