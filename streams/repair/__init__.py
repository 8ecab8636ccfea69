"""How is what was counted put right: filled back, or counted again?"""
