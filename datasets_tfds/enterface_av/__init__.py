"""eNTERFACE'05: faces and voices of 43 subjects."""
