-- The tables of a database before their versions were counted (version 0001).
CREATE TABLE frames (
	id INTEGER NOT NULL, 
	original_image_path VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	raw_size BIGINT NOT NULL, 
	raw_mtime_ns BIGINT NOT NULL, 
	raw_digest VARCHAR NOT NULL, 
	image_relpath VARCHAR, 
	sources_relpath VARCHAR, 
	wcs_relpath VARCHAR, 
	band VARCHAR NOT NULL, 
	instrument VARCHAR NOT NULL, 
	mjd FLOAT, 
	mjd_start FLOAT, 
	mjd_end FLOAT, 
	time_source VARCHAR, 
	exptime FLOAT, 
	gain FLOAT, 
	read_noise FLOAT, 
	saturation FLOAT, 
	width INTEGER, 
	height INTEGER, 
	plate_solved BOOLEAN NOT NULL, 
	attempted_plate_solve BOOLEAN NOT NULL, 
	solver VARCHAR, 
	wcs_matched INTEGER, 
	wcs_rms_pixels FLOAT, 
	pixel_scale FLOAT, 
	angle_to_north FLOAT, 
	seeing_pixels FLOAT, 
	seeing_arcseconds FLOAT, 
	ellipticity FLOAT, 
	sky_level_electron_per_second FLOAT, 
	background_rms_electron_per_second FLOAT, 
	sun_altitude FLOAT, 
	moon_phase FLOAT, 
	roi_in_footprint BOOLEAN NOT NULL, 
	eliminated BOOLEAN NOT NULL, 
	comment VARCHAR NOT NULL, 
	flags INTEGER NOT NULL, 
	calibration VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE ("key")
);
CREATE UNIQUE INDEX ix_frames_original_image_path ON frames (original_image_path);
CREATE INDEX ix_frames_instrument ON frames (instrument);
CREATE INDEX ix_frames_mjd ON frames (mjd);
CREATE TABLE exposures (
	role VARCHAR NOT NULL, 
	instrument VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	size BIGINT NOT NULL, 
	mtime_ns BIGINT NOT NULL, 
	digest VARCHAR NOT NULL, 
	reader VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	setup JSON NOT NULL, 
	band VARCHAR NOT NULL, 
	exptime FLOAT, 
	temperature FLOAT, 
	height INTEGER NOT NULL, 
	width INTEGER NOT NULL, 
	comment VARCHAR NOT NULL, 
	PRIMARY KEY (role, instrument, path)
);
CREATE TABLE combined_footprint (
	hash VARCHAR NOT NULL, 
	strategy VARCHAR NOT NULL, 
	rois JSON NOT NULL, 
	ra FLOAT NOT NULL, 
	dec FLOAT NOT NULL, 
	radius FLOAT NOT NULL, 
	region JSON, 
	common JSON NOT NULL, 
	total JSON NOT NULL, 
	active BOOLEAN NOT NULL, 
	PRIMARY KEY (hash)
);
CREATE TABLE stars (
	combined_footprint_hash VARCHAR NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	ra FLOAT NOT NULL, 
	dec FLOAT NOT NULL, 
	pmra FLOAT NOT NULL, 
	pmdec FLOAT NOT NULL, 
	ref_epoch FLOAT NOT NULL, 
	magnitude FLOAT NOT NULL, 
	bp FLOAT, 
	rp FLOAT, 
	distance_to_roi_arcsec FLOAT NOT NULL, 
	active BOOLEAN NOT NULL, 
	comment VARCHAR NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, gaia_id)
);
CREATE TABLE stars_in_frames (
	frame_id INTEGER NOT NULL, 
	combined_footprint_hash VARCHAR NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	x FLOAT NOT NULL, 
	y FLOAT NOT NULL, 
	usable BOOLEAN NOT NULL, 
	masked_fraction FLOAT, 
	saturated BOOLEAN NOT NULL, 
	signal_to_noise FLOAT, 
	comment VARCHAR NOT NULL, 
	psf_comment VARCHAR NOT NULL, 
	PRIMARY KEY (frame_id, combined_footprint_hash, gaia_id)
);
CREATE TABLE catalog_star_photometry (
	catalog VARCHAR NOT NULL, 
	band VARCHAR NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	mag FLOAT NOT NULL, 
	mag_err FLOAT NOT NULL, 
	system VARCHAR NOT NULL, 
	colour FLOAT, 
	PRIMARY KEY (catalog, band, gaia_id)
);
CREATE TABLE "PSFs" (
	combined_footprint_hash VARCHAR NOT NULL, 
	frame_id INTEGER NOT NULL, 
	psf_ref VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	chi2 FLOAT NOT NULL, 
	subsampling_factor INTEGER NOT NULL, 
	stars VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	evaluations INTEGER NOT NULL, 
	comment VARCHAR NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id)
);
CREATE TABLE star_flux_in_frame (
	combined_footprint_hash VARCHAR NOT NULL, 
	frame_id INTEGER NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	psf_ref VARCHAR NOT NULL, 
	flux FLOAT NOT NULL, 
	flux_uncertainty FLOAT NOT NULL, 
	x FLOAT NOT NULL, 
	y FLOAT NOT NULL, 
	x_offset FLOAT NOT NULL, 
	y_offset FLOAT NOT NULL, 
	x_uncertainty FLOAT NOT NULL, 
	y_uncertainty FLOAT NOT NULL, 
	background FLOAT NOT NULL, 
	chi2 FLOAT NOT NULL, 
	status VARCHAR NOT NULL, 
	masked_outliers INTEGER NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id, gaia_id)
);
CREATE TABLE normalization_coefficients (
	combined_footprint_hash VARCHAR NOT NULL, 
	frame_id INTEGER NOT NULL, 
	instrument VARCHAR NOT NULL, 
	band VARCHAR NOT NULL, 
	coefficient FLOAT NOT NULL, 
	coefficient_uncertainty FLOAT NOT NULL, 
	scatter FLOAT NOT NULL, 
	stars INTEGER NOT NULL, 
	extra_scatter FLOAT NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id)
);
CREATE TABLE star_residuals (
	combined_footprint_hash VARCHAR NOT NULL, 
	frame_id INTEGER NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	instrument VARCHAR NOT NULL, 
	band VARCHAR NOT NULL, 
	residual FLOAT NOT NULL, 
	residual_error FLOAT NOT NULL, 
	used BOOLEAN NOT NULL, 
	comment VARCHAR NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id, gaia_id)
);
CREATE TABLE star_levels (
	combined_footprint_hash VARCHAR NOT NULL, 
	instrument VARCHAR NOT NULL, 
	band VARCHAR NOT NULL, 
	gaia_id VARCHAR NOT NULL, 
	level FLOAT NOT NULL, 
	level_error FLOAT NOT NULL, 
	intrinsic_scatter FLOAT NOT NULL, 
	gauge_level FLOAT, 
	comment VARCHAR NOT NULL, 
	note VARCHAR NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, instrument, band, gaia_id)
);
CREATE TABLE absolute_zeropoints (
	combined_footprint_hash VARCHAR NOT NULL, 
	instrument VARCHAR NOT NULL, 
	band VARCHAR NOT NULL, 
	catalog VARCHAR NOT NULL, 
	catalog_band VARCHAR NOT NULL, 
	system VARCHAR NOT NULL, 
	zeropoint FLOAT NOT NULL, 
	zeropoint_uncertainty FLOAT NOT NULL, 
	scatter FLOAT NOT NULL, 
	stars INTEGER NOT NULL, 
	colour VARCHAR NOT NULL, 
	colour_term FLOAT NOT NULL, 
	colour_term_uncertainty FLOAT NOT NULL, 
	reference_colour FLOAT NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, instrument, band)
);
CREATE TABLE products (
	stage VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	token VARCHAR NOT NULL, 
	components JSON NOT NULL, 
	state VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	run_id INTEGER, 
	seconds FLOAT NOT NULL, 
	PRIMARY KEY (stage, unit)
);
CREATE TABLE runs (
	id INTEGER NOT NULL, 
	started DATETIME NOT NULL, 
	finished DATETIME, 
	version VARCHAR NOT NULL, 
	stages VARCHAR NOT NULL, 
	outcome VARCHAR NOT NULL, 
	units_done INTEGER NOT NULL, 
	units_unusable INTEGER NOT NULL, 
	units_failed INTEGER NOT NULL, 
	message VARCHAR NOT NULL, 
	settings VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE rois_in_frames (
	frame_id INTEGER NOT NULL, 
	roi VARCHAR NOT NULL, 
	roi_in_footprint BOOLEAN NOT NULL, 
	x FLOAT, 
	y FLOAT, 
	bjd_tdb FLOAT, 
	airmass FLOAT, 
	altitude FLOAT, 
	azimuth FLOAT, 
	degrees_to_moon FLOAT, 
	PRIMARY KEY (frame_id, roi), 
	FOREIGN KEY(frame_id) REFERENCES frames (id)
);
CREATE TABLE footprints (
	frame_id INTEGER NOT NULL, 
	polygon JSON NOT NULL, 
	PRIMARY KEY (frame_id), 
	FOREIGN KEY(frame_id) REFERENCES frames (id)
);
