"""Who looks whether something calls for somebody, and what do they read and write?"""
