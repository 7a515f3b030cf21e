"""The parts of AWS's inference toolkit that scripts import: content_types, decoder, encoder, errors."""
