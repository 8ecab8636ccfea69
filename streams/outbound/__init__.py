"""How does what the centre has to say reach those outside?"""
