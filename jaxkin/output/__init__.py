"""Results for people: labelled files, tables with uncertainties, pictures."""
