"""What is heard, and how a training goes: symptoms in a person's own words, and in the figures of a run.

The guides' tables name remedies of other models. VITS has no attention, so there is none to guide: its alignment is a
search that always ends; and its vocoder is the decoder that trains with the rest.
"""

from tts_lab.diagnosis import signs
from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.messages import FREE

SYMPTOMS = (
    Ailment(
        "Robotic or buzzy sound",
        asked=r"\b(robot\w*|buzz\w*|metallic|mechanical|vocoder\w*|tinny|hiss\w*|crackl\w*|artifacts?|noisy)\b",
        shown=signs.buzzes,
        means="The decoder has not learnt the fine structure of a voice yet, or it learnt it from damaged "
              "recordings. A pitch that sticks to the model's own frame rate (86 Hz at 22.05 kHz) is a decoder that "
              "collapsed.",
        tries=(
            ("Listen to the recordings first, and see `tts-lab analyze`: noise, clipping, mains hum and a sample "
             "rate that was blown up are learnt like a voice.", FREE),
            ("Without days to spend, `recipes/source_filter.yaml`: its decoder makes pulses and noise by rule.",
             "time: saves days; its checkpoints train in tts_lab alone"),
            ("Train longer with discriminators: they remove the buzz. See that adversarial_from was reached and "
             "loss_d moves.", "time: hours to days; money on a rented machine"),
            ("Start from a published voice (start_from): its decoder can speak already.",
             "quality: gains; time: saves days"),
            ("If it buzzes more than an earlier checkpoint did, take that one: `tts-lab advise`, `tts-lab evaluate`.",
             FREE),
        ),
        mind="There is no vocoder to train longer: in VITS it is the decoder, trained with all the rest.",
    ),
    Ailment(
        "Words are skipped or repeated",
        asked=r"\b(skip\w*|repeat\w*|repetit\w*|stutter\w*|swallow\w*|drops? (words|sounds)|missing words|"
              r"words? (are )?missing|babbl\w*|mumbl\w*|gibberish|attention problem\w*)\b",
        shown=signs.skips,
        means="Durations or alignment are not learnt: texts that do not say what is said, long silences inside "
              "clips, or too little training. VITS cannot run away as an attention does; it can only give a sound no "
              "time.",
        tries=(
            ("Check texts against recordings: `tts-lab analyze` ranks the clips whose rate or words do not fit.",
             "time: an hour of review"),
            ("Prepare with trim on, and set aside clips with long pauses inside.", "quality: a little data"),
            ("Start from a published voice of the language: its durations are learnt.", "quality: gains"),
            ("Halve learning_rate; train longer while free_skipped falls.", "time: as long again"),
        ),
        mind="Guided attention loss, the usual advice, is for Tacotron: VITS searches its alignment (monotonic "
             "alignment search) and has no attention to guide.",
    ),
    Ailment(
        "The alignment does not move",
        asked=r"\b(alignment|attention)\b.{0,40}\b(stuck|never|flat|not (move|learn|improv|converg)\w*|does ?n.t|bad|"
              r"broken)|\bno alignment\b|\b(alignment|attention) (fail\w*|collaps\w*)",
        shown=signs.stuck_alignment,
        means="The text encoder says nothing about the sound: it is frozen, learns too slowly, the texts belong to "
              "other recordings, or the phonemes are of another language's voice.",
        tries=(
            ("Read five random lines of the manifest while listening to their clips.", "time: minutes"),
            ("See that enc_p is not among freeze, and that espeak's voice is that of the language.", FREE),
            ("With overfit_batches 2, align_skipped must fall within some hundred steps: if not, it is the data.",
             "time: minutes"),
            ("Start from a published voice.", "quality: gains; time: saves days"),
        ),
    ),
    Ailment(
        "Wrong pronunciation",
        asked=r"\b(mispronounc\w*|mispronunciation\w*|pronunciation|pronounc\w*|wrong (words?|sounds?|phonemes?|"
              r"stress|accent)|reads? (numbers|digits|abbreviations)|foreign accent|dropped? (letters|sounds))\b",
        shown=signs.mispronounces,
        means="Either espeak gives other phonemes than the speaker says, or symbols of the corpus are not in the "
              "voice's map and are never heard, or numbers and abbreviations were read by another rule.",
        tries=(
            ("See the phonemes: Frontend(voice).encode(text).phonemes; take espeak's voice of the very accent "
             "(en-us, en-gb-x-rp, pt-br).", FREE),
            ("Write numbers and abbreviations out in the texts as they are spoken.", "time: minutes to hours"),
            ("Spell a name as it sounds, or give Piper its phonemes in [[ ]].", FREE),
            ("Prepare again with the base voice's map (`--voice`), and train anew, if symbols are missing.",
             "time: the training"),
        ),
    ),
    Ailment(
        "The speaker's identity is lost",
        asked=r"\b(speaker|voice)('s)? (identity|similarity|likeness)\b|\bsounds? like (someone|somebody|another|"
              r"the base|the other)|\b(does ?n.t|does not|not) sound like\b|\b(speakers?|voices?) (blend\w*|mix\w*|"
              r"merge\w*|are alike|bleed)|\bwrong speaker\b|\bidentity loss\b|\bdominant speaker\b",
        shown=lambda e: signs.likeness_lost(e) or signs.unbalanced(e),
        means="The voice is still the base voice's, or that of the speaker with the most data, or training went past "
              "its best point.",
        tries=(
            ("Take the checkpoint most like the speaker: `tts-lab evaluate` measures each.", "time: minutes"),
            ("Give rare speakers more weight when corpora are merged (weight), or cut the frequent one's data.",
             "quality: a little data"),
            ("Train longer; unfreeze dec and flow, where they were frozen.", "time: hours"),
            ("Record more of that speaker: from ten minutes on, thirty are clearly better.",
             "time: an hour of recording"),
        ),
        mind="A speaker-adversarial loss and a larger speaker embedding, as guides have them, are no settings of "
             "Piper's model; balance of the data does more.",
    ),
    Ailment(
        "The discriminators teach nothing",
        asked=r"\bdiscriminators?\b.{0,40}\b(wins?|stuck|dead|constant|zero|too strong|collaps\w*|nothing)|"
              r"\bmode collapse\b|\bloss_d\b.{0,30}\b(zero|constant|stuck|0\.0|flat)",
        shown=signs.bad_judge,
        means="Generator and discriminators teach each other only while neither wins.",
        tries=(
            ("Lower learning_rate_d where they are always right; raise it where they guess.",
             "time: slower, and a new try"),
            ("Let them join later: adversarial_from, when the mel has come down.", FREE),
            ("Take batch_size 16 or more: a judge of four clips is easily fooled.", "memory: in proportion"),
        ),
    ),
    Ailment(
        "Unstable training",
        asked=r"\b(unstable|instab\w*|diverg\w*|explod\w*|oscillat\w*|spik\w*|jump(s|ing|ed)? (up|around))\b",
        shown=lambda e: signs.diverges(e) or signs.spikes(e),
        means="Steps are too large for what a batch says: a learning rate that is too high, very different clips, or "
              "a few that are damaged.",
        tries=(
            ("Go back to a checkpoint before it (`--resume`), halve learning_rate, set clip to the usual grad_norm_g.",
             "time: the steps since then, and slower progress"),
            ("warmup_steps 500 at the start of a fine-tune.", "time: minutes"),
            ("accumulate 2 or 4: more rows an update, less noise.", "time: in proportion"),
            ("Review the outliers that `tts-lab analyze` ranks first.", "time: an hour"),
        ),
        mind="loss_g and loss_d going up and down is no instability: in an adversarial training they must. Look at "
             "mel, kl and the gradient norms.",
    ),
    Ailment(
        "Slow convergence",
        asked=r"\bslow(ly)? (to )?(converg\w*|learn\w*|progress|improv\w*|training)\b|\bconverg\w* .{0,20}slow\w*|"
              r"\b(does ?n.t|does not|not|never|stops?|stopped) (converg\w*|learn\w*|improv\w*|decreas\w*)|"
              r"\bplateau\w*|\btakes (too long|forever)\b",
        shown=lambda e: signs.slow(e) or signs.rate_gone(e),
        means="The learning rate is too small or has run out, most of the model is frozen, or it starts from nothing "
              "with little data.",
        tries=(
            ("Start from a published voice: hours instead of days.",
             "quality: gains, with its accent inherited at first"),
            ("learning_rate 2e-4 from scratch, 5e-5 to 2e-4 for a fine-tune; schedule constant or cosine.", FREE),
            ("Try on few clips: limit_utterances 50, overfit_batches 2. There the mel must fall fast.",
             "time: minutes"),
            ("Unfreeze parts; see `tts-lab recommend`. debug verbose shows how strongly each is pulled.", FREE),
        ),
    ),
    Ailment(
        "The clips are learnt by heart",
        asked=r"\boverfit\w*|\bvalidation\b.{0,30}\b(ris\w*|increas\w*|goes up|worse)|\blearn\w* by heart\b|"
              r"\bmemori[sz]\w*",
        shown=signs.overfits,
        means="The mel of clips that are not trained on rises while that of the others falls: further steps make the "
              "voice worse for new texts.",
        tries=(
            ("Stop, and take the checkpoint that `tts-lab advise` names.", FREE),
            ("Freeze more (enc_p, dp), or lower learning_rate.", "time: another run"),
            ("Record more.", "time: hours"),
        ),
        mind="The total loss is no signal: it holds the adversarial terms, which rise while a voice gets better. Go "
             "by val_mel and by listening.",
    ),
    Ailment(
        "Too little data",
        asked=r"\b(too (little|few)|not enough|insufficient) (data|clips|recordings|audio|samples)\b|\bsmall dataset\b",
        shown=signs.little_data,
        means="A fine-tune from a published voice wants ten minutes or more; from nothing, hours.",
        tries=(
            ("Start from a published voice, never from scratch.", FREE),
            ("Record more, in the same room and manner.", "time: an hour for half an hour of clips"),
            ("Freeze enc_p and dp; watch val_mel, and stop early.", "quality: its rhythm stays the base voice's"),
        ),
    ),
    Ailment(
        "Much of the corpus was set aside",
        asked=r"\bquarantin\w*|\b(clips|recordings|utterances) (are |were )?(skipped|dropped|set aside|left out)\b",
        shown=signs.much_quarantined,
        means="`tts-lab prepare` found recordings that would do harm: clipped, empty, or not saying their text.",
        tries=(
            ("`tts-lab prepare` prints each reason; mend the first kind and prepare again: what is done is kept.",
             "time: minutes"),
            ("`tts-lab review` decides single clips by ear.", "time: an hour"),
        ),
    ),
    Ailment(
        "Silence comes out",
        asked=r"\b(silent|silence|no sound|empty audio|nothing (is )?(heard|comes out))\b",
        means="The text gave no phonemes that the voice knows, or its weights are not numbers.",
        tries=(
            ("`tts-lab inspect FILE`, and `tts-lab say` with a plain English sentence.", FREE),
            ("Take a checkpoint from before a loss became NaN.", "time: the steps since"),
        ),
    ),
)  # fmt: skip
