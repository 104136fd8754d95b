"""MSP-IMPROV: faces and voices of twelve actors in dialogues."""
