"""The languages of multilingual tokenizers: which tokens they are, and where these go."""

import re
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer

from diptych.export.errors import ExportError
from diptych.export.tokenizers.result import frame
from diptych.runtime.languages import Languages

# In the order of their ids, which come after those of the vocabulary.
MBART = """
    ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP
    nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN
""".split()
MBART50 = [
    *MBART,
    *"""
    af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE
    ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI
    """.split(),
]
M2M100 = {
    "m2m100": """
    af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy
    id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru
    sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
    """.split(),
    "wmt21": "en ha is ja cs ru zh de".split(),
}
NLLB = """
    ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab arb_Arab ars_Arab
    ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl
    bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn
    cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn
    est_Latn eus_Latn ewe_Latn fao_Latn pes_Arab fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn
    gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn
    ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab
    kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl kbp_Latn kea_Latn khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn
    kon_Latn kor_Hang kmr_Latn lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn
    lua_Latn lug_Latn luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn mkd_Cyrl plt_Latn mlt_Latn
    mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn nus_Latn
    nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab quy_Latn
    ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn
    sna_Latn snd_Arab som_Latn sot_Latn spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn
    szl_Latn tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn
    tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn
    vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zul_Latn
""".split()
TAG = re.compile(">>(.+)<<")
SPELLED = {
    "mbart": re.compile("([a-z]{2}_[A-Z]{2})"),
    "m2m_100": re.compile("__([a-z]+)__|([a-z]{3}_[A-Z][a-z]{3})"),
}


def frame_with_language(
    tokenizer: Tokenizer, named: Mapping[str, AddedToken], told: str, codes: Mapping[str, AddedToken], template: str
) -> None:
    """As `frame`, with the language of the source as `lang`. Raises ExportError if it is not among the codes."""
    if told not in codes:
        raise ExportError(f"tokenizer_config.json: src_lang is {told!r}; known are {', '.join(codes)}")
    frame(tokenizer, {**named, "lang_token": codes[told]}, template, template.replace("$A", "$A $B"))


def in_tokenizer(tokenizer: Tokenizer, family: str, options: Mapping[str, Any]) -> Languages | None:
    """The languages among a tokenizer's added tokens; one of them is around every text that it reads.

    Raises ExportError if tokenizer_config.json names one that is not among them.
    """
    if family == "marian":
        return by_tag(tokenizer.get_vocab())
    spelled = SPELLED.get(family)
    if spelled is None:
        return None
    found = {number: spelled.fullmatch(token.content) for number, token in tokenizer.get_added_tokens_decoder().items()}
    codes = {match[match.lastindex or 0]: number for number, match in found.items() if match}
    if not codes:
        return None
    around = tokenizer.encode("").ids
    last = bool(around) and around[-1] in codes.values()
    if family == "m2m_100":  # Whatever the file says: NLLB's tokenizer changed its mind and rewrites it.
        last = bool(options.get("legacy_behaviour"))
    default = next((code for code, number in codes.items() if number in around), None)
    for key in ("src_lang", "tgt_lang"):
        if options.get(key) is not None and options[key] not in codes:
            raise ExportError(f"tokenizer_config.json: {key} is {options[key]!r}; known are {', '.join(codes)}")
    return Languages(
        codes,
        source="last" if last else "first",
        target="start" if last and family == "mbart" else "forced_bos",
        default_source=options.get("src_lang") or default,
        default_target=options.get("tgt_lang"),
    )


def by_tag(ids: Mapping[str, int]) -> Languages | None:
    """Marian's: the target's language is a tag before the source, which no text gets unasked."""
    codes = {match[1]: number for token, number in ids.items() if (match := TAG.fullmatch(token))}
    return Languages(codes, source=None, target="source") if codes else None
