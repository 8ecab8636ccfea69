"""How are the tables kept small while the centre runs, without anybody looking after them?"""
