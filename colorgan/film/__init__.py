"""Colouring films: scenes, colours that are carried along within a scene, and resumable segments.

A film is read three times. The first time (`plan.py`), its scenes are found and the router decides
on a model for each. Then each *segment*, a scene or a part of a long one, is coloured by itself
(`segments.py`): its frames are read to predict their colours, which are smoothed along the motion
(`temporal.py`), and once more to join them with the colours and encode them. At the end
(`joining.py`), the segments and everything else that the film holds are copied into one file.

A segment depends on the film, the models and the options alone, so segments can be coloured in any
order and on any machine, and those that exist need not be coloured again. This package needs the
extra `film`; import its modules after `kinds.require_extra`.
"""
